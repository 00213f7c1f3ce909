#include "metarm/explain/reward_change.h"

#include <gtest/gtest.h>

namespace metarm {
namespace {

using Row = std::vector<float>;
using Rows = std::vector<Row>;

TEST(RewardScale, MeanAndPopulationDeviation) {  // by hand
  const Rows rewards = {{1, 3}, {5, 7}};
  const RewardScale scale = reward_scale(rewards);
  EXPECT_DOUBLE_EQ(scale.mean, 4);
  EXPECT_NEAR(scale.deviation * scale.deviation, 5, 1e-12);
  EXPECT_NEAR(scale.scaled(4 + scale.deviation), 1, 1e-12);
  EXPECT_EQ(reward_scale(Rows{}).deviation, 0);
}

TEST(RowChange, AnotherScaleAndZeroAreNone) {
  const Rows before = {{1, 3, 2}, {5, 7}};
  Rows after = before;
  for (Row& row : after)
    for (float& reward : row) reward = 4 * reward - 9;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const RowChange change = row_change(before[i], after[i], reward_scale(before), reward_scale(after));
    EXPECT_NEAR(change.difference, 0, 1e-6);
    EXPECT_EQ(change.flips, 0);
  }
}

TEST(RowChange, TheLargestChangeAndEveryFlip) {  // by hand: differences 1, 2, 1 become -1, 1, 2 deviations
  const RewardScale one{0, 1}, two{0, 2};
  const RowChange change = row_change(Row{3, 2, 1}, Row{2, 4, 0}, one, two);
  EXPECT_EQ(change.differences, 3);
  EXPECT_EQ(change.flips, 1);
  EXPECT_DOUBLE_EQ(change.difference, -2);
}

TEST(RowChange, ATieIsNoFlip) {
  const RewardScale one{0, 1};
  EXPECT_EQ(row_change(Row{1, 1}, Row{2, 1}, one, one).flips, 0);
  EXPECT_EQ(row_change(Row{1}, Row{2}, one, one).differences, 0);
}

TEST(OrderByChange, FlipsFirstThenTheLargestChange) {
  const std::vector<RowChange> changes = {{0.5, 1, 0}, {0.1, 1, 1}, {-3, 1, 0}, {-0.2, 3, 2}};
  EXPECT_EQ(order_by_change(changes), (std::vector<std::size_t>{3, 1, 2, 0}));
}

}  // namespace
}  // namespace metarm
