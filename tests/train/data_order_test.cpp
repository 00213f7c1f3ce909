#include "metarm/train/data_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace metarm {
namespace {

TEST(DataOrder, EpochsTakeEachRowOnce) {
  DataOrder order(7, 3, "pairs", true);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<std::int64_t> rows;
    for (std::int64_t step = 0; step < 3; ++step)
      for (const std::int64_t row : order.batch(epoch * 3 + step, 3)) rows.push_back(row);
    std::ranges::sort(rows);
    std::vector<std::int64_t> all(7);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(rows, all);
  }
}

TEST(DataOrder, RowsDrawnWithReplacementAreThoseOfTheSeed) {
  const std::vector<std::int64_t> rows = draw_with_replacement(1000, 3);
  EXPECT_EQ(rows.size(), 1000U);
  EXPECT_EQ(rows, draw_with_replacement(1000, 3));
  EXPECT_NE(rows, draw_with_replacement(1000, 4));
  std::vector<std::int64_t> different = rows;
  std::ranges::sort(different);
  EXPECT_TRUE(different.front() >= 0 && different.back() < 1000);
  different.erase(std::ranges::unique(different).begin(), different.end());
  EXPECT_NEAR(static_cast<double>(different.size()) / 1000, 1 - 1 / std::exp(1.0), 0.05);
}

TEST(DataOrder, IsAFunctionOfTheStep) {
  DataOrder forwards(20, 1, "pairs", true), jumping(20, 1, "pairs", true);
  std::vector<std::vector<std::int64_t>> seen;
  for (std::int64_t step = 0; step < 12; ++step) seen.push_back(forwards.batch(step, 4));
  for (const std::int64_t step : {11, 0, 7, 3}) EXPECT_EQ(jumping.batch(step, 4), seen[static_cast<std::size_t>(step)]);
  EXPECT_NE(DataOrder(20, 2, "pairs", true).batch(0, 20), DataOrder(20, 1, "pairs", true).batch(0, 20));
  EXPECT_NE(DataOrder(20, 1, "groups", true).batch(0, 20), DataOrder(20, 1, "pairs", true).batch(0, 20));
}

TEST(DataOrder, WithoutShufflingKeepsTheFileS) {
  DataOrder order(5, 1, "pairs", false);
  EXPECT_EQ(order.batch(0, 3), (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(order.batch(1, 3), (std::vector<std::int64_t>{3, 4}));
  EXPECT_EQ(order.stream(1, 3), (std::vector<std::int64_t>{3, 4, 0}));
}

TEST(DataOrder, StreamsRunThroughEpochs) {
  DataOrder order(3, 5, "groups", true);
  std::vector<int> counts(3, 0);
  for (std::int64_t step = 0; step < 6; ++step)
    for (const std::int64_t row : order.stream(step, 2)) ++counts[static_cast<std::size_t>(row)];
  EXPECT_EQ(counts, (std::vector<int>{4, 4, 4}));
}

}  // namespace
}  // namespace metarm
