// Rows times a packed weight are what torch makes of the same numbers, whatever the sizes.
#include "metarm/model/packed_weights.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace metarm {
namespace {

class PackedMatrices : public testing::TestWithParam<PackedType> {};

TEST_P(PackedMatrices, MultiplyRows) {
  const PackedType type = GetParam();
  at::manual_seed(1);
  for (const std::int64_t out : {1, 32, 70})
    for (const std::int64_t in : {5, 64, 130})
      for (const std::int64_t rows : {1, 16, 37}) {
        const at::Tensor weight = at::randn({in, out}).t(), x = at::randn({rows, in}).to(at::kBFloat16);  // not contiguous
        at::Tensor same = weight.to(type == PackedType::float32 ? at::kFloat : at::kBFloat16).to(at::kDouble);
        if (type == PackedType::int8) {
          const at::Tensor step = weight.to(at::kDouble).abs().amax(1, true) / 127;
          same = at::round(weight.to(at::kDouble) / step) * step;
        }
        const PackedMatrix packed(weight, type);
        const at::Tensor expected = at::mm(x.to(at::kDouble), same.t()), got = packed.product(x, at::kFloat);
        ASSERT_EQ(got.sizes(), expected.sizes());
        EXPECT_LT((got - expected).abs().max().item<double>(), 1e-5 * std::sqrt(static_cast<double>(in)))
            << rows << " rows of " << in << " to " << out;
        EXPECT_TRUE(at::equal(packed.product(x, at::kBFloat16), got.to(at::kBFloat16)));
      }
}

std::vector<PackedType> types_here() {
  std::vector<PackedType> types = {PackedType::float32, PackedType::bfloat16, PackedType::int8};
  if (has_pairs()) types.push_back(PackedType::bfloat16_pairs);
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, PackedMatrices, testing::ValuesIn(types_here()));

}  // namespace
}  // namespace metarm
