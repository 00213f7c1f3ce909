#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "metarm/objectives/difference_loss.h"
#include "metarm/objectives/pairwise_loss.h"

namespace metarm {
namespace {

double j_of(const std::vector<float>& rewards) {
  const std::int64_t size = static_cast<std::int64_t>(rewards.size());
  return difference_losses(torch::tensor(rewards), std::vector<std::int64_t>{size})[0].item<double>();
}

TEST(DifferenceLoss, KnownValues) {
  EXPECT_NEAR(j_of({0, 1}), 0.365529289, 1e-7);
  EXPECT_NEAR(j_of({0, 1, 3}), 0.569873285, 1e-7);
}

TEST(DifferenceLoss, StaysInItsRangeAndIgnoresShiftAndOrder) {
  for (const int k : {2, 3, 7}) {
    std::vector<float> far, tied(static_cast<std::size_t>(k), 1.5F);
    for (int i = 0; i < k; ++i) far.push_back(static_cast<float>(100 * i));
    EXPECT_NEAR(j_of(tied), (k - 1.0) / (2 * k), 1e-6);
    EXPECT_NEAR(j_of(far), (k - 1.0) / k, 1e-6);
  }
  EXPECT_NEAR(j_of({0.5F, -1, 2, 0.25F}), j_of({12, 10.25F, 9, 10.5F}), 1e-6);
}

TEST(DifferenceLoss, GroupsOfDifferentSizesCountOnTheirOwn) {
  const at::Tensor values = difference_losses(torch::tensor({0.F, 1.F, 0.F, 1.F, 3.F}), std::vector<std::int64_t>{2, 3});
  EXPECT_NEAR(values[0].item<double>(), 0.365529289, 1e-6);
  EXPECT_NEAR(values[1].item<double>(), 0.569873285, 1e-6);
}

TEST(DifferenceLoss, GradientIsZeroAtTiesAndPushesApartElsewhere) {
  at::Tensor rewards = torch::tensor({1.F, 1.F, 2.F}).requires_grad_(true);
  difference_losses(rewards, std::vector<std::int64_t>{3}).sum().backward();
  const at::Tensor gradient = rewards.grad();
  const double slope = 2.0 / 9 * std::exp(-1.0) / std::pow(1 + std::exp(-1.0), 2);
  EXPECT_NEAR(gradient[0].item<double>(), -slope, 1e-6);
  EXPECT_NEAR(gradient[1].item<double>(), -slope, 1e-6);
  EXPECT_NEAR(gradient[2].item<double>(), 2 * slope, 1e-6);
}

TEST(PairwiseLoss, KnownValues) {
  const at::Tensor chosen = torch::tensor({1.F, 0.F}), rejected = torch::tensor({0.F, 2.F});
  const at::Tensor plain = pairwise_losses(chosen, rejected, {}, {});
  EXPECT_NEAR(plain[0].item<double>(), std::log1p(std::exp(-1.0)), 1e-6);
  EXPECT_NEAR(plain[1].item<double>(), std::log1p(std::exp(2.0)), 1e-6);
  const at::Tensor full = pairwise_losses(chosen, rejected, {torch::tensor({0.5F, 0.F}), torch::tensor({3.F, 1.F})}, {0.1, 0.01});
  EXPECT_NEAR(full[0].item<double>(), 3 * (0.9 * std::log1p(std::exp(-0.5)) + 0.1 * std::log1p(std::exp(0.5)) + 0.01), 1e-6);
}

// -q log s(d) - (1 - q) log s(-d) with q of a teacher, by hand; smoothing mixes it with the other label.
TEST(PairwiseLoss, SoftLabels) {
  const at::Tensor chosen = torch::tensor({1.F, 1.F}), rejected = torch::tensor({0.F, 0.F}), label = torch::tensor({0.25F, 1.F});
  const double up = std::log1p(std::exp(-1.0)), down = std::log1p(std::exp(1.0));
  const at::Tensor soft = pairwise_losses(chosen, rejected, {.label_B = label}, {});
  EXPECT_NEAR(soft[0].item<double>(), 0.25 * up + 0.75 * down, 1e-6);
  EXPECT_NEAR(soft[1].item<double>(), up, 1e-6);
  const at::Tensor smooth = pairwise_losses(chosen, rejected, {.label_B = label}, {0.1, 0});
  EXPECT_NEAR(smooth[0].item<double>(), 0.3 * up + 0.7 * down, 1e-6);
}

TEST(PairwiseLoss, HugeDifferencesStayFinite) {
  at::Tensor chosen = torch::tensor({-1e4F}).requires_grad_(true);
  const at::Tensor loss = pairwise_losses(chosen, torch::tensor({1e4F}), {}, {});
  loss.sum().backward();
  EXPECT_NEAR(loss.item<double>(), 2e4, 1);
  EXPECT_NEAR(chosen.grad().item<double>(), -1, 1e-6);
}

}  // namespace
}  // namespace metarm
