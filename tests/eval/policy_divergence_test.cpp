#include "metarm/eval/policy_divergence.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace metarm {
namespace {

TEST(RatioEstimate, IsTheMeanAndItsStandardErrorWhereCountsAreOne) {
  const Estimate estimate = ratio_estimate(std::vector<double>{1, 2, 3}, std::vector<double>{1, 1, 1});
  EXPECT_DOUBLE_EQ(estimate.mean, 2);
  EXPECT_NEAR(estimate.standard_error, 1 / std::sqrt(3.0), 1e-12);
}

TEST(RatioEstimate, ClustersThatRepeatThemselvesSayNothingNew) {
  const Estimate once = ratio_estimate(std::vector<double>{1, 2, 3}, std::vector<double>{1, 1, 1}),
                 four_times = ratio_estimate(std::vector<double>{4, 8, 12}, std::vector<double>{4, 4, 4});
  EXPECT_DOUBLE_EQ(four_times.mean, once.mean);
  EXPECT_DOUBLE_EQ(four_times.standard_error, once.standard_error);
}

TEST(RatioEstimate, IsUndefinedWhereThereIsTooLittle) {
  EXPECT_TRUE(std::isnan(ratio_estimate({}, {}).mean));
  const Estimate one = ratio_estimate(std::vector<double>{3}, std::vector<double>{2});
  EXPECT_DOUBLE_EQ(one.mean, 1.5);
  EXPECT_TRUE(std::isnan(one.standard_error));
}

LogRatio log_ratio_of(const std::vector<float>& policy, const std::vector<float>& reference) { return log_ratio(policy, reference); }

TEST(PolicyDivergence, ByHand) {
  const LogRatio first = log_ratio_of({-1, -2}, {-1.5F, -1}), same = log_ratio_of({-3}, {-3}), other = log_ratio_of({-1}, {-2});
  EXPECT_EQ(first.tokens, 2);
  EXPECT_DOUBLE_EQ(first.sum, -0.5);
  EXPECT_NEAR(first.k3, (std::exp(-0.5) - 1 + 0.5) + (std::exp(1.0) - 1 - 1), 1e-12);
  EXPECT_DOUBLE_EQ(same.sum, 0);
  EXPECT_DOUBLE_EQ(other.sum, 1);
  EXPECT_NEAR(same.k3 + other.k3, std::exp(-1.0), 1e-12);
  const PolicyDivergence divergence = policy_divergence(std::vector<std::vector<LogRatio>>{{first}, {}, {same, other}});
  EXPECT_EQ(divergence.groups, 2);  // a prompt without responses is none
  EXPECT_EQ(divergence.responses, 3);
  EXPECT_EQ(divergence.tokens, 4);
  EXPECT_NEAR(divergence.k1_per_response.mean, 0.5 / 3, 1e-12);
  EXPECT_NEAR(divergence.k1_per_token.mean, 0.5 / 4, 1e-12);
  EXPECT_NEAR(divergence.k3_per_token.mean, (first.k3 + other.k3) / 4, 1e-12);
}

TEST(PolicyDivergence, K3IsNeverNegativeAndSmallWhereK1IsNoisy) {
  const LogRatio ratio = log_ratio_of({-1, -1}, {-1.1F, -0.9F});
  EXPECT_NEAR(ratio.sum, 0, 1e-6);
  EXPECT_GT(ratio.k3, 0.009);
  EXPECT_LT(ratio.k3, 0.011);
}

}  // namespace
}  // namespace metarm
