#include "metarm/model/trainable.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace metarm {
namespace {

constexpr std::int64_t kSize = 200'000;

FlatTensors make_master() {
  FlatTensors master({{"a", {kSize / 2}, true}, {"b", {kSize / 4, 2}, false}}, at::kFloat, at::kCPU);
  torch::manual_seed(1);
  master.flat().copy_(torch::randn({kSize}) * 0.05);
  return master;
}

// A step a hundredth of the spacing of bfloat16 numbers near the weights.
at::Tensor small_step() { return torch::randn({kSize}) * 2e-6; }

// Weights as a bfloat16 checkpoint has them.
FlatTensors make_rounded_master() {
  FlatTensors master = make_master();
  master.flat().copy_(master.flat().to(at::kBFloat16));
  return master;
}

TEST(Trainable, APlainCastLosesASmallStep) {
  Trainable trainable(make_rounded_master(), at::kBFloat16, false);
  EXPECT_NEAR(trainable.load_compute_shifted(small_step(), 1.0, Rounding::nearest, 0), 0, 0.05);
}

TEST(Trainable, StochasticRoundingKeepsASmallStepInExpectation) {
  Trainable trainable(make_rounded_master(), at::kBFloat16, false);
  const at::Tensor step = small_step();
  double kept = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) kept += trainable.load_compute_shifted(step, 1.0, Rounding::stochastic, seed) / 40;
  EXPECT_NEAR(kept, 1.0, 0.05);
}

TEST(Trainable, StochasticRoundingIsUnbiasedAndSeeded) {
  for (const float value : {1.001F, -1.001F, 0.0303F, -3.7e-5F}) {
    at::Tensor rounded = torch::empty({kSize}, at::kBFloat16), again = torch::empty({kSize}, at::kBFloat16);
    cast_weights(rounded, torch::full({kSize}, value), {}, 0, Rounding::stochastic, 7);
    EXPECT_NEAR(rounded.to(at::kDouble).mean().item<double>() / value, 1.0, 2e-5);
    cast_weights(again, torch::full({kSize}, value), {}, 0, Rounding::stochastic, 7);
    EXPECT_TRUE(torch::equal(rounded, again));
    cast_weights(again, torch::full({kSize}, value), {}, 0, Rounding::stochastic, 8);
    EXPECT_FALSE(torch::equal(rounded, again));
    // Only the two neighbours occur.
    EXPECT_LE(std::get<0>(at::_unique(rounded.to(at::kFloat))).numel(), 2);
  }
}

TEST(Trainable, Float32KeepsTheWholeStep) {
  Trainable trainable(make_master(), at::kFloat, true);
  const at::Tensor step = torch::randn({kSize}) * 0.01;
  EXPECT_NEAR(trainable.load_compute_shifted(step, 2.0, Rounding::nearest, 0), 1.0, 1e-4);
  EXPECT_TRUE(torch::allclose(trainable.leaves()[0], trainable.master().tensor(0) + 2.0 * step.narrow(0, 0, kSize / 2)));
  trainable.load_compute();
  EXPECT_TRUE(torch::equal(trainable.leaves()[1], trainable.master().tensor(1)));
}

TEST(Trainable, ThreadsDoNotChangeTheKeptShare) {
  Trainable trainable(make_master(), at::kBFloat16, false);
  const at::Tensor step = small_step();
  const int threads = at::get_num_threads();
  const double many = trainable.load_compute_shifted(step, 1.0, Rounding::stochastic, 3);
  at::set_num_threads(1);
  const double one = trainable.load_compute_shifted(step, 1.0, Rounding::stochastic, 3);
  at::set_num_threads(threads);
  EXPECT_EQ(many, one);
}

TEST(Trainable, GradientsMoveAndAreCleared) {
  Trainable trainable(make_master(), at::kFloat, false);
  (trainable.leaves()[1] * 3.0).sum().backward();
  at::Tensor gradient = torch::zeros({kSize});
  for (std::size_t i = 0; i < trainable.leaves().size(); ++i) trainable.move_gradient_to(gradient, i);
  EXPECT_EQ(gradient.narrow(0, 0, kSize / 2).abs().sum().item<float>(), 0);
  EXPECT_TRUE((gradient.narrow(0, kSize / 2, kSize / 2) == 3.0).all().item<bool>());
  EXPECT_FALSE(trainable.leaves()[1].grad().defined());
}

}  // namespace
}  // namespace metarm
