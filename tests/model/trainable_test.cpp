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

// The kept share of a step from cast(θ).
double shifted(Trainable& trainable, const at::Tensor& step, double scale, Rounding rounding, std::uint64_t seed) {
  trainable.load_compute(rounding, seed);
  return trainable.shift_compute(step, scale, rounding, seed);
}

TEST(Trainable, APlainCastLosesASmallStep) {
  Trainable trainable(make_rounded_master(), at::kBFloat16, false);
  EXPECT_NEAR(shifted(trainable, small_step(), 1.0, Rounding::nearest, 0), 0, 0.05);
}

TEST(Trainable, StochasticRoundingKeepsASmallStepInExpectation) {
  Trainable trainable(make_rounded_master(), at::kBFloat16, false);
  const at::Tensor step = small_step();
  double kept = 0;
  for (std::uint64_t seed = 0; seed < 40; ++seed) kept += shifted(trainable, step, 1.0, Rounding::stochastic, seed) / 40;
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

// Against one element at a time, in every type and rounding that a training has.
TEST(Trainable, AShiftedCopyIsTheCastOfTheShiftedWeights) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic}) {
      Trainable trainable(make_master(), type, true);
      const at::Tensor step = torch::randn({kSize}) * 0.01;
      at::Tensor before = torch::empty({kSize}, type), after = torch::empty({kSize}, type);
      cast_weights(before, trainable.master().flat(), {}, 0, rounding, 5);
      cast_weights(after, trainable.master().flat(), step, 0.5, rounding, 5);
      const double kept = shifted(trainable, step, 0.5, rounding, 5);
      EXPECT_TRUE(torch::equal(trainable.leaves()[0], after.narrow(0, 0, kSize / 2)));
      const at::Tensor moved = after.to(at::kDouble) - before.to(at::kDouble), whole = step.to(at::kDouble) * 0.5;
      EXPECT_NEAR(kept, (at::dot(moved, whole) / at::dot(whole, whole)).item<double>(), 1e-5);
    }
  }
  at::Tensor nearest = torch::empty({kSize}, at::kBFloat16);
  const at::Tensor weights = make_master().flat();
  cast_weights(nearest, weights, {}, 0, Rounding::nearest, 0);
  EXPECT_TRUE(torch::equal(nearest, weights.to(at::kBFloat16)));
}

TEST(Trainable, Float32KeepsTheWholeStep) {
  Trainable trainable(make_master(), at::kFloat, true);
  const at::Tensor step = torch::randn({kSize}) * 0.01;
  EXPECT_NEAR(shifted(trainable, step, 2.0, Rounding::nearest, 0), 1.0, 1e-4);
  EXPECT_TRUE(torch::allclose(trainable.leaves()[0], trainable.master().tensor(0) + 2.0 * step.narrow(0, 0, kSize / 2)));
  trainable.load_compute();
  EXPECT_TRUE(torch::equal(trainable.leaves()[1], trainable.master().tensor(1)));
}

TEST(Trainable, ThreadsDoNotChangeTheKeptShare) {
  Trainable trainable(make_master(), at::kBFloat16, false);
  const at::Tensor step = small_step();
  const int threads = at::get_num_threads();
  const double many = shifted(trainable, step, 1.0, Rounding::stochastic, 3);
  at::set_num_threads(1);
  const double one = shifted(trainable, step, 1.0, Rounding::stochastic, 3);
  at::set_num_threads(threads);
  EXPECT_EQ(many, one);
}

TEST(Trainable, GradientsMoveAndAreCleared) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    Trainable trainable(make_master(), type, false);
    const at::Tensor weight = torch::randn({2, kSize / 4}).to(type);
    at::Tensor gradient = torch::zeros({kSize});
    for (int pass = 0; pass < 2; ++pass) {
      trainable.load_compute();
      (trainable.leaves()[1].t() * weight).sum().backward();  // its gradient comes turned
      for (std::size_t i = 0; i < trainable.leaves().size(); ++i) trainable.move_gradient_to(gradient, i);
      EXPECT_FALSE(trainable.leaves()[1].grad().defined());
    }
    EXPECT_EQ(gradient.narrow(0, 0, kSize / 2).abs().sum().item<float>(), 0);
    EXPECT_TRUE(torch::equal(gradient.narrow(0, kSize / 2, kSize / 2), 2 * weight.t().reshape({-1}).to(at::kFloat)));
  }
}

}  // namespace
}  // namespace metarm
