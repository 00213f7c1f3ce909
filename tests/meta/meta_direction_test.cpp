#include "metarm/meta/meta_direction.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace metarm {
namespace {

constexpr std::int64_t kSize = 50;

FlatTensors make_weights() { return FlatTensors({{"w", {kSize}, true}}, at::kFloat, at::kCPU); }

at::Tensor away_from_zero() {
  const at::Tensor v = torch::randn({kSize});
  return v + v.sign() * 0.5;
}

// D(v) as MetaDirection defines it, in double, with autograd.
at::Tensor reference(MetaScale scale, const at::Tensor& v, const std::vector<at::Tensor>& earlier) {
  if (scale == MetaScale::absolute) return v;
  if (scale == MetaScale::normalized) return v / v.norm();
  at::Tensor first = torch::zeros({kSize}, at::kDouble), second = torch::zeros({kSize}, at::kDouble);
  for (const at::Tensor& before : earlier) {
    first = 0.9 * first + 0.1 * before;
    second = 0.999 * second + 0.001 * before.square();
  }
  first = 0.9 * first + 0.1 * v;
  second = 0.999 * second + 0.001 * v.square();
  const auto steps = static_cast<double>(earlier.size() + 1);
  return first / (1 - std::pow(0.9, steps)) / ((second / (1 - std::pow(0.999, steps))).sqrt() + 1e-8);
}

class MetaDirections : public testing::TestWithParam<MetaScale> {};

TEST_P(MetaDirections, AndTheirDerivativesEqualAutograd) {
  torch::manual_seed(2);
  const FlatTensors weights = make_weights();
  const std::unique_ptr<Ranks> ranks = make_single_rank();
  MetaDirection direction(GetParam(), weights, Share(*ranks, kSize));
  std::vector<at::Tensor> earlier;
  for (std::int64_t step = 0; step < 3; ++step) {
    const at::Tensor v = away_from_zero(), g = torch::randn({kSize});
    at::Tensor leaf = v.to(at::kDouble).requires_grad_(true);
    const at::Tensor expected = reference(GetParam(), leaf, earlier);
    const at::Tensor slope = torch::autograd::grad({(expected * g.to(at::kDouble)).sum()}, {leaf})[0];
    const MetaDirection::Direction got = direction.direction(v, step);
    EXPECT_TRUE(torch::allclose(got.vector.to(at::kDouble) * got.factor, expected, 1e-4, 1e-6));
    EXPECT_TRUE(torch::allclose(direction.transposed_derivative(v, g, step).to(at::kDouble), slope, 1e-3, 2e-5)) << "step " << step;
    direction.advance(v);
    earlier.push_back(v.to(at::kDouble));
  }
}

INSTANTIATE_TEST_SUITE_P(Scales, MetaDirections, testing::Values(MetaScale::absolute, MetaScale::normalized, MetaScale::adam));

TEST(MetaDirection, AGradientThatIsNotFiniteLeavesTheMomentsAlone) {
  torch::manual_seed(3);
  const FlatTensors weights = make_weights();
  const std::unique_ptr<Ranks> ranks = make_single_rank();
  const Share share(*ranks, kSize);
  MetaDirection spoiled(MetaScale::adam, weights, share), clean(MetaScale::adam, weights, share);
  const at::Tensor v = away_from_zero();
  for (const double value : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    at::Tensor bad = v.clone();
    bad[7] = value;
    spoiled.advance(bad);
  }
  EXPECT_TRUE(at::equal(spoiled.direction(v, 2).vector, clean.direction(v, 2).vector));
}

TEST(MetaDirection, AZeroGradientGivesNoStep) {
  const FlatTensors weights = make_weights();
  const std::unique_ptr<Ranks> ranks = make_single_rank();
  for (const MetaScale scale : {MetaScale::normalized, MetaScale::adam}) {
    const MetaDirection::Direction direction = MetaDirection(scale, weights, Share(*ranks, kSize)).direction(torch::zeros({kSize}), 0);
    EXPECT_EQ((direction.vector * direction.factor).abs().max().item<float>(), 0);
  }
}

}  // namespace
}  // namespace metarm
