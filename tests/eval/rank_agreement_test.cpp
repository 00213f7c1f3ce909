#include "metarm/eval/rank_agreement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace metarm {
namespace {

using Group = std::vector<float>;

TEST(KendallTau, KnownValues) {  // by hand
  EXPECT_NEAR(kendall_tau_b(Group{1, 2, 3, 4}, Group{1, 3, 2, 4}), 4.0 / 6, 1e-12);
  EXPECT_NEAR(kendall_tau_b(Group{1, 1, 2}, Group{1, 2, 3}), 2 / std::sqrt(6.0), 1e-12);
  EXPECT_NEAR(kendall_tau_b(Group{3, 2, 1}, Group{1, 2, 3}), -1, 1e-12);
  EXPECT_TRUE(std::isnan(kendall_tau_b(Group{2, 2}, Group{1, 2})));
}

TEST(KendallTau, WhatWasNotScoredDoesNotCount) {
  EXPECT_NEAR(kendall_tau_b(Group{1, NAN, 2, 3}, Group{1, 9, 3, 2}), 1.0 / 3, 1e-12);
  EXPECT_TRUE(std::isnan(kendall_tau_b(Group{1, NAN}, Group{1, 2})));
}

TEST(RankAgreement, TheSecondModelAsGold) {
  const std::vector<Group> first = {{1, 2, 3}, {5, 5}}, second = {{3, 1, 2}, {1, 2}};
  const RankAgreement agreement = rank_agreement(first, second, 0);
  EXPECT_EQ(agreement.groups, 1);
  EXPECT_EQ(agreement.undefined, 1);
  EXPECT_NEAR(agreement.tau_b, -1.0 / 3, 1e-12);
  EXPECT_EQ(agreement.pairs, 4);
  EXPECT_NEAR(agreement.accuracy, 0.25, 1e-12);
  // What the second model ties is no pair to be right about.
  EXPECT_EQ(rank_agreement(second, first, 0).pairs, 3);
}

TEST(Bootstrap, IsTheBinomialIntervalWhereCountsAreOne) {
  std::vector<double> right(400, 0.0);
  const std::vector<double> ones(400, 1.0);
  std::fill_n(right.begin(), 120, 1.0);
  const Interval interval = bootstrap_interval(right, ones, 1);
  const double half = 1.96 * std::sqrt(0.3 * 0.7 / 400);
  EXPECT_NEAR(interval.low, 0.3 - half, 0.006);
  EXPECT_NEAR(interval.high, 0.3 + half, 0.006);
  const Interval again = bootstrap_interval(right, ones, 1), other = bootstrap_interval(right, ones, 2);
  EXPECT_EQ(interval.low, again.low);
  EXPECT_TRUE(interval.low != other.low || interval.high != other.high);
}

TEST(Bootstrap, PromptsAreDrawnWhole) {  // ten prompts of 100 pairs each are ten things to draw, not a thousand
  std::vector<double> right, pairs(10, 100.0);
  for (int i = 0; i < 10; ++i) right.push_back(i < 5 ? 100.0 : 0.0);
  const Interval interval = bootstrap_interval(right, pairs, 0);
  EXPECT_NEAR(interval.high - interval.low, 2 * 1.96 * std::sqrt(0.25 / 10), 0.11);
}

TEST(Bootstrap, IsUndefinedWithoutAnything) {
  EXPECT_TRUE(std::isnan(bootstrap_interval({}, {}, 0).low));
  EXPECT_TRUE(std::isnan(bootstrap_interval(std::vector<double>{0}, std::vector<double>{0}, 0).high));
}

}  // namespace
}  // namespace metarm
