#include "metarm/eval/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace metarm {
namespace {

TEST(Wilson, KnownValues) {  // by the formula, by hand: 197 of 300
  const Interval interval = wilson_interval(197, 300);
  EXPECT_NEAR(interval.low, 0.60121, 1e-4);
  EXPECT_NEAR(interval.high, 0.70817, 1e-4);
  EXPECT_EQ(wilson_interval(0, 10).low, 0.0);
  EXPECT_NEAR(wilson_interval(10, 10).high, 1.0, 1e-12);
}

TEST(PairStatistics, CountsTiesAsWrong) {
  const std::vector<PairRewards> rewards = {{1, 0}, {0, 0}, {0, 2}, {3, 1}};
  const PairStatistics statistics = pair_statistics(rewards);
  EXPECT_DOUBLE_EQ(statistics.accuracy, 0.5);
  EXPECT_DOUBLE_EQ(statistics.mean_margin, 0.25);
  const auto loss = [](double margin) { return std::log1p(std::exp(-margin)); };
  EXPECT_NEAR(statistics.loss, (loss(1) + loss(0) + loss(-2) + loss(2)) / 4, 1e-12);
  const auto square = [](double margin) { return std::pow(1 / (1 + std::exp(margin)), 2); };
  EXPECT_NEAR(statistics.brier, (square(1) + square(0) + square(-2) + square(2)) / 4, 1e-12);
  // Rewards 1 0 0 0 0 2 3 1: mean 7/8, mean square 15/8.
  EXPECT_NEAR(statistics.reward_deviation, std::sqrt(15.0 / 8 - 49.0 / 64), 1e-12);
}

TEST(PairStatistics, CalibrationComparesConfidenceWithAccuracy) {
  std::vector<PairRewards> rewards(100, {static_cast<float>(std::log(3.0)), 0});  // confidence .75
  for (int i = 0; i < 50; ++i) std::swap(rewards[static_cast<std::size_t>(i)].chosen, rewards[static_cast<std::size_t>(i)].rejected);
  const PairStatistics statistics = pair_statistics(rewards);
  ASSERT_EQ(statistics.calibration.size(), 1U);
  EXPECT_NEAR(statistics.calibration[0].mean_confidence, 0.75, 1e-6);
  EXPECT_NEAR(statistics.calibration_error, 0.25, 1e-6);
}

TEST(DifferenceStatistics, AveragesWithinThenOverGroups) {
  const std::vector<std::vector<float>> groups = {{0, 1, 3}, {5, 5}};
  const DifferenceStatistics statistics = difference_statistics(groups, 2.0);
  EXPECT_DOUBLE_EQ(statistics.mean, ((1 + 3 + 2) / 3.0 + 0) / 2);
  EXPECT_DOUBLE_EQ(statistics.variance, ((1 + 9 + 4) / 3.0 + 0) / 2);
  EXPECT_DOUBLE_EQ(statistics.near_ties, 0.5);
  EXPECT_DOUBLE_EQ(statistics.scaled_mean, 0.5);
}

TEST(DifferenceStatistics, NearTiesAreBelowTheirShareOfTheDeviation) {
  const std::vector<std::vector<float>> groups = {{0, 1, 3}};  // differences 1 2 3
  EXPECT_DOUBLE_EQ(difference_statistics(groups, 2.0, 0.5).near_ties, 0);
  EXPECT_NEAR(difference_statistics(groups, 2.0, 0.51).near_ties, 1.0 / 3, 1e-12);
  EXPECT_NEAR(difference_statistics(groups, 2.0, 1.2).near_ties, 2.0 / 3, 1e-12);
  const std::vector<std::int64_t> histogram = difference_statistics(groups, 2.0).histogram;  // in steps of half a unit
  EXPECT_EQ(histogram[2] + histogram[4] + histogram[6], 3);
  EXPECT_EQ(difference_statistics(groups, 0.01).histogram.back(), 3);
}

TEST(DifferenceStatistics, ScaleDoesNotChangeTheScaledFigures) {
  const std::vector<std::vector<float>> groups = {{0, 1, 3}, {2, 5}}, larger = {{0, 10, 30}, {20, 50}};
  const DifferenceStatistics a = difference_statistics(groups, 0.7), b = difference_statistics(larger, 7.0);
  EXPECT_NEAR(a.scaled_mean, b.scaled_mean, 1e-9);
  EXPECT_NEAR(a.scaled_variance, b.scaled_variance, 1e-9);
  EXPECT_EQ(a.histogram, b.histogram);
}

}  // namespace
}  // namespace metarm
