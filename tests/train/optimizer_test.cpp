// Moments in bfloat16: as those in float32, in expectation.
#include "metarm/train/optimizer.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

namespace metarm {
namespace {

constexpr std::int64_t kSize = 4096;

struct Steps {
  at::Tensor weights;
  std::vector<std::pair<std::string, at::Tensor>> state;
};

Steps take_steps(MomentDType moments, std::int64_t steps) {
  FlatTensors weights({{"matrix", {kSize - 96}, true}, {"norm", {96}, false}}, at::kFloat, at::kCPU);
  weights.flat().fill_(1.0);
  Optimizer optimizer({.moments = moments, .weight_decay = 0.1}, weights, {0, kSize});
  at::manual_seed(1);
  for (std::int64_t step = 0; step < steps; ++step) optimizer.apply(at::randn({kSize}) * 0.5 + 1.0, 1e-4, step);
  return {weights.flat(), optimizer.state()};
}

TEST(Optimizer, Bfloat16MomentsFollowThoseInFloat32) {
  constexpr std::int64_t kSteps = 2000;
  const Steps wide = take_steps(MomentDType::float32, kSteps), narrow = take_steps(MomentDType::bfloat16, kSteps);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(narrow.state[i].second.scalar_type(), at::kBFloat16);
    const double expected = wide.state[i].second.mean().item<double>();
    EXPECT_NEAR(narrow.state[i].second.to(at::kFloat).mean().item<double>(), expected, 0.005 * expected) << wide.state[i].first;
  }
  const double second = wide.state[1].second.mean().item<double>();
  EXPECT_NEAR(second, 1.25 * (1 - std::pow(0.999, kSteps)), 0.01);  // E g² = 1 + 0.25
  const at::Tensor moved = 1.0 - wide.weights, difference = (narrow.weights - wide.weights).abs();
  EXPECT_LT(difference.mean().item<double>(), 0.01 * moved.mean().item<double>());
}

TEST(Optimizer, WeightDecayIsForMatrices) {
  const Steps run = take_steps(MomentDType::float32, 1);
  EXPECT_NEAR(run.weights[0].item<double>(), 1 - 1e-4 * 0.1 - 1e-4, 1e-6);
  EXPECT_NEAR(run.weights[kSize - 1].item<double>(), 1 - 1e-4, 1e-6);
}

}  // namespace
}  // namespace metarm
