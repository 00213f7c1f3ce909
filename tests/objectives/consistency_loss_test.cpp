#include "metarm/objectives/consistency_loss.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <vector>

namespace metarm {
namespace {

double c_of(const std::vector<float>& rewards, const std::vector<float>& others) {
  const auto size = static_cast<std::int64_t>(rewards.size());
  return consistency_losses(torch::tensor(rewards), torch::tensor(others), std::vector<std::int64_t>{size})[0].item<double>();
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double divergence(double q, double other) { return q * std::log(q / other) + (1 - q) * std::log((1 - q) / (1 - other)); }

TEST(ConsistencyLoss, IsTheMeanOfBothDivergencesOfEachTwoResponses) {
  EXPECT_NEAR(c_of({0, 1}, {0, -1}), 2 * sigmoid(1) - 1, 1e-7);
  const std::vector<float> r = {0.5F, -1, 2}, other = {0, -0.5F, 2.5F};
  double sum = 0;
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = i + 1; j < 3; ++j) {
      const double q = sigmoid(r[i] - r[j]), p = sigmoid(other[i] - other[j]);
      sum += 0.5 * (divergence(q, p) + divergence(p, q));
    }
  EXPECT_NEAR(c_of(r, other), sum / 3, 1e-6);
}

TEST(ConsistencyLoss, IsZeroForDifferencesThatAgreeAndIgnoresOrder) {
  EXPECT_NEAR(c_of({0, 1, 3}, {10, 11, 13}), 0, 1e-7);
  EXPECT_NEAR(c_of({0, 1, 3}, {1, 1, 2}), c_of({3, 0, 1}, {12, 11, 11}), 1e-6);
}

TEST(ConsistencyLoss, GroupsOfDifferentSizesCountOnTheirOwn) {
  const at::Tensor values = consistency_losses(torch::tensor({0.F, 1.F, 0.F, 1.F, 3.F}), torch::tensor({0.F, -1.F, 1.F, 1.F, 2.F}),
                                               std::vector<std::int64_t>{2, 3});
  ASSERT_EQ(values.numel(), 2);
  EXPECT_NEAR(values[0].item<double>(), c_of({0, 1}, {0, -1}), 1e-6);
  EXPECT_NEAR(values[1].item<double>(), c_of({0, 1, 3}, {1, 1, 2}), 1e-6);
}

// With one sign in both readings a larger scale is more consistent, with two a smaller one: rewards are not simply pulled to nothing.
TEST(ConsistencyLoss, AScaleIsBothRewardedAndPunished) {
  EXPECT_LT(c_of({0, 6}, {0, 9}), c_of({0, 2}, {0, 3}));
  EXPECT_LT(c_of({0, 0.5F}, {0, -0.5F}), c_of({0, 2}, {0, -2}));
}

TEST(ConsistencyLoss, GradientReachesBothReadings) {
  at::Tensor r = torch::tensor({1.F, 0.F}).requires_grad_(true), other = torch::tensor({0.F, 0.F}).requires_grad_(true);
  consistency_losses(r, other, std::vector<std::int64_t>{2}).sum().backward();
  // 1/2 (q - q') (d - d') at d = 1, d' = 0: by d, 1/2 (q (1 - q) + q - 1/2); by d', -1/2 (1/4 + q - 1/2).
  const double q = sigmoid(1), slope = 0.5 * (q * (1 - q) + q - 0.5), other_slope = -0.5 * (0.25 + q - 0.5);
  EXPECT_NEAR(r.grad()[0].item<double>(), slope, 1e-6);
  EXPECT_NEAR(r.grad()[1].item<double>(), -slope, 1e-6);
  EXPECT_NEAR(other.grad()[0].item<double>(), other_slope, 1e-6);
}

}  // namespace
}  // namespace metarm
