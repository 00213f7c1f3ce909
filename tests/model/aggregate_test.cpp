#include "metarm/model/aggregate.h"

#include <gtest/gtest.h>

#include <array>

namespace metarm {
namespace {

// By hand: of 1, 2, 6 the mean is 3, the variance (4 + 1 + 9) / 3 = 14 / 3.
TEST(Aggregate, OfThreeRewards) {
  const std::array<double, 3> rewards = {2, 6, 1};
  const double variance = 14.0 / 3, deviation = 2.160246899469287;
  EXPECT_DOUBLE_EQ(combine_rewards(rewards, Aggregate::mean, 0).reward, 3);
  EXPECT_DOUBLE_EQ(combine_rewards(rewards, Aggregate::min, 0).reward, 1);
  EXPECT_DOUBLE_EQ(combine_rewards(rewards, Aggregate::median, 0).reward, 2);
  EXPECT_DOUBLE_EQ(combine_rewards(rewards, Aggregate::uncertainty, 0.5).reward, 3 - 0.5 * variance);
  for (const Aggregate aggregate : {Aggregate::mean, Aggregate::min, Aggregate::median, Aggregate::uncertainty})
    EXPECT_DOUBLE_EQ(combine_rewards(rewards, aggregate, 0.5).deviation, deviation);
}

TEST(Aggregate, TheMedianOfAnEvenNumberLiesBetweenTheTwoInTheMiddle) {
  const std::array<double, 4> rewards = {10, -1, 2, 3};
  EXPECT_DOUBLE_EQ(combine_rewards(rewards, Aggregate::median, 0).reward, 2.5);
}

TEST(Aggregate, MembersThatAgreeHaveNoSpread) {
  const std::array<double, 2> rewards = {0.25, 0.25};
  for (const Aggregate aggregate : {Aggregate::mean, Aggregate::min, Aggregate::median, Aggregate::uncertainty}) {
    EXPECT_DOUBLE_EQ(combine_rewards(rewards, aggregate, 3).reward, 0.25);
    EXPECT_DOUBLE_EQ(combine_rewards(rewards, aggregate, 3).deviation, 0);
  }
}

}  // namespace
}  // namespace metarm
