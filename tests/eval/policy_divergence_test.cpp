#include "metarm/eval/policy_divergence.h"

#include <gtest/gtest.h>

#include <cmath>

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

TEST(PolicyDivergence, ByHand) {
  const DivergenceSums first = divergence_sums({{-1, -2}}, {{-1.5F, -1}}), second = divergence_sums({{-3}, {-1}}, {{-3}, {-2}});
  EXPECT_DOUBLE_EQ(first.responses, 1);
  EXPECT_DOUBLE_EQ(first.tokens, 2);
  EXPECT_DOUBLE_EQ(first.k1, -0.5);
  EXPECT_NEAR(first.k3, (std::exp(-0.5) - 1 + 0.5) + (std::exp(1.0) - 1 - 1), 1e-12);
  EXPECT_DOUBLE_EQ(second.k1, 1);
  EXPECT_NEAR(second.k3, std::exp(-1.0), 1e-12);
  const PolicyDivergence divergence = policy_divergence(std::vector<DivergenceSums>{first, {}, second});
  EXPECT_EQ(divergence.groups, 2);  // a prompt without responses is none
  EXPECT_EQ(divergence.responses, 3);
  EXPECT_EQ(divergence.tokens, 4);
  EXPECT_NEAR(divergence.k1_per_response.mean, 0.5 / 3, 1e-12);
  EXPECT_NEAR(divergence.k1_per_token.mean, 0.5 / 4, 1e-12);
  EXPECT_NEAR(divergence.k3_per_token.mean, (first.k3 + second.k3) / 4, 1e-12);
}

TEST(PolicyDivergence, K3IsNeverNegativeAndSmallWhereK1IsNoisy) {
  const DivergenceSums sums = divergence_sums({{-1, -1}}, {{-1.1F, -0.9F}});
  EXPECT_NEAR(sums.k1, 0, 1e-6);
  EXPECT_GT(sums.k3, 0.009);
  EXPECT_LT(sums.k3, 0.011);
}

}  // namespace
}  // namespace metarm
