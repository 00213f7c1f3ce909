// Moments in bfloat16: as those in float32, in expectation. Tensors that begin later than others.
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

// PyTorch counts the steps of each tensor from the first that moves it: so a tensor that begins at step 3 goes the way of one that a new
// optimizer moves from there, and without decay or a pull before it.
TEST(Optimizer, ATensorThatBeginsLaterBeginsAnew) {
  constexpr std::int64_t kFirst = 3, kSteps = 8, kEach = 50;
  for (const OptimizerKind kind : {OptimizerKind::adamw, OptimizerKind::sgd}) {
    FlatTensors both({{"early", {kEach}, true}, {"late", {kEach}, true}}, at::kFloat, at::kCPU),
        alone({{"late", {kEach}, true}}, at::kFloat, at::kCPU);
    both.flat().fill_(1.0);
    alone.flat().fill_(1.0);
    const OptimizerSettings settings{.kind = kind, .weight_decay = 0.1, .l2_sp = 0.5};
    OptimizerSettings later = settings;
    later.first_steps = {0, kFirst};
    Optimizer optimizer(later, both, {0, 2 * kEach}), reference(settings, alone, {0, kEach});
    at::manual_seed(1);
    for (std::int64_t step = 0; step < kSteps; ++step) {
      const at::Tensor gradient = at::randn({2 * kEach});
      optimizer.apply(gradient, 1e-2, step);
      if (step < kFirst)
        EXPECT_TRUE(at::equal(both.tensor(1), at::ones({kEach})));
      else
        reference.apply(gradient.narrow(0, kEach, kEach), 1e-2, step - kFirst);
    }
    EXPECT_TRUE(at::equal(both.tensor(1), alone.tensor(0)));
    EXPECT_GT((both.tensor(0) - 1).abs().min().item<double>(), 0);
  }
}

}  // namespace
}  // namespace metarm
