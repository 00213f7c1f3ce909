#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "metarm/objectives/advantages.h"
#include "metarm/objectives/implicit_reward.h"
#include "metarm/objectives/kl.h"
#include "metarm/objectives/policy_loss.h"
#include "metarm/objectives/value_loss.h"

namespace metarm {
namespace {

void expect_near(const at::Tensor& found, const std::vector<double>& expected) {
  ASSERT_EQ(found.numel(), static_cast<std::int64_t>(expected.size()));
  const at::Tensor flat = found.reshape({-1});
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(flat[static_cast<std::int64_t>(i)].item<double>(), expected[i], 1e-5) << "at " << i;
}

// Ratios 1.5, 1.5, 0.5, 0.5 and 1 with advantages of either sign: the pessimistic term is the smaller one.
TEST(PolicyLoss, TakesTheSmallerTermAndItsGradient) {
  const at::Tensor log_prob = torch::tensor({1.5F, 1.5F, 0.5F, 0.5F, 1.F}).log().requires_grad_(true);
  const at::Tensor advantage = torch::tensor({2.F, -2.F, 2.F, -2.F, 3.F});
  const PolicyLosses losses = policy_losses(log_prob, torch::zeros({5}), advantage, 0.2);
  expect_near(losses.loss_S, {-2.4, 3, -1, 1.6, -3});
  expect_near(losses.clipped_S, {1, 0, 0, 1, 0});
  losses.loss_S.sum().backward();
  expect_near(log_prob.grad(), {0, 3, -1, 0, -3});
}

// Near and beyond the range around 0, on the side of the return and on the other: the pessimistic term is the larger one.
TEST(ValueLoss, TakesTheLargerTermAndItsGradient) {
  const at::Tensor value = torch::tensor({0.1F, 0.5F, 0.5F, -0.5F}).requires_grad_(true);
  const at::Tensor returns = torch::tensor({1.F, 1.F, 0.F, 0.F});
  const ValueLosses losses = value_losses(value, torch::zeros({4}), returns, 0.2);
  expect_near(losses.loss_S, {0.405, 0.32, 0.125, 0.125});
  expect_near(losses.clipped_S, {0, 1, 0, 0});
  losses.loss_S.sum().backward();
  expect_near(value.grad(), {-0.9, 0, 0.5, -0.5});
}

TEST(ValueLoss, IsSquaredDistanceWithoutClipping) {
  const at::Tensor value = torch::tensor({0.1F, 0.5F}).requires_grad_(true);
  const ValueLosses losses = value_losses(value, torch::zeros({2}), torch::tensor({1.F, 1.F}), 0);
  expect_near(losses.loss_S, {0.405, 0.125});
  expect_near(losses.clipped_S, {0, 0});
  losses.loss_S.sum().backward();
  expect_near(value.grad(), {-0.9, -0.5});
}

TEST(ValueLoss, ExplainedVariance) {
  const at::Tensor returns = torch::tensor({1.F, 2.F, 6.F});
  EXPECT_NEAR(explained_variance(returns + 5, returns), 1, 1e-6);
  EXPECT_NEAR(explained_variance(torch::full({3}, 7.F), returns), 0, 1e-6);
  EXPECT_NEAR(explained_variance(torch::tensor({1.F, 3.F, 5.F}), returns), 1 - (2.0 / 3) / (14.0 / 3), 1e-6);  // errors 0, -1, 1
}

TEST(Kl, KnownValues) {
  const at::Tensor policy = torch::tensor({-1.F, -2.F}), reference = torch::tensor({-1.5F, -1.F});
  expect_near(kl_estimates(policy, reference, KlEstimator::k1), {0.5, -1});
  expect_near(kl_estimates(policy, reference, KlEstimator::k2), {0.125, 0.5});
  expect_near(kl_estimates(policy, reference, KlEstimator::k3), {std::exp(-0.5) - 1 + 0.5, std::exp(1.0) - 1 - 1});
}

// Weighted by the probabilities of all tokens, k1 and k3 give the KL itself.
TEST(Kl, TwoEstimatorsAreUnbiased) {
  torch::manual_seed(0);
  const at::Tensor p = at::log_softmax(torch::randn({50}), 0), q = at::log_softmax(torch::randn({50}), 0);
  const double kl = (p.exp() * (p - q)).sum().item<double>();
  for (const KlEstimator estimator : {KlEstimator::k1, KlEstimator::k3})
    EXPECT_NEAR((p.exp() * kl_estimates(p, q, estimator)).sum().item<double>(), kl, 1e-5);
}

TEST(Advantages, OfRlooAreAgainstTheOthers) {
  expect_near(rloo_advantages(torch::tensor({{1.F, 2.F, 6.F}, {0.F, 0.F, 3.F}})), {-3, -1.5, 4.5, -1.5, -1.5, 3});
}

TEST(Advantages, OfGrpoAreScaledByTheGroup) {
  const double scale = 1 / (2 + 1e-4);  // the deviation of 1, 3, 5 with k - 1
  expect_near(grpo_advantages(torch::tensor({{1.F, 3.F, 5.F}, {4.F, 4.F, 4.F}})), {-2 * scale, 0, 2 * scale, 0, 0, 0});
}

// Without a critic and without discount: sums of a token's and later rewards.
TEST(Advantages, OfGaeSumToGoWithinARow) {
  const at::Tensor rewards = torch::tensor({1.F, 2.F, 3.F, 10.F, 20.F});
  expect_near(gae_advantages(rewards, torch::zeros({5}), std::vector<std::int64_t>{0, 3, 5}, 1, 1), {6, 5, 3, 30, 20});
  expect_near(rewards, {1, 2, 3, 10, 20});
}

// Backwards by hand: d = 1.75, -0.775, 1.4 for the tokens of the first row, each followed by 0.9 * 0.8 times what comes after.
TEST(Advantages, OfGaeAreAgainstTheValues) {
  const at::Tensor rewards = torch::tensor({1.F, 0.F, 2.F, 3.F}), values = torch::tensor({0.5F, 1.F, 0.25F, 2.F});
  const std::vector<std::int64_t> rows = {0, 3, 4};
  expect_near(gae_advantages(rewards, values, rows, 0.9, 0.8), {1.4 + 0.72 * (-0.775 + 0.72 * 1.75), -0.775 + 0.72 * 1.75, 1.75, 1});
  expect_near(gae_advantages(rewards, values, rows, 0.9, 0), {1.4, -0.775, 1.75, 1});
}

TEST(Advantages, WhitenedHaveMeanZeroAndDeviationOne) {
  const at::Tensor white = whiten(torch::tensor({1.F, 2.F, 6.F}));
  EXPECT_NEAR(white.mean().item<double>(), 0, 1e-6);
  EXPECT_NEAR(white.square().mean().item<double>(), 1, 1e-6);
}

TEST(ImplicitReward, IsTheScaledLogRatio) {
  expect_near(implicit_rewards(torch::tensor({-3.F, -5.F}), torch::tensor({-4.F, -4.F}), 0.5), {0.5, -0.5});
}

}  // namespace
}  // namespace metarm
