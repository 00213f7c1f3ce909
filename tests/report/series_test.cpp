#include "metarm/report/series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "metarm/base/error.h"

namespace metarm {
namespace {

Series wave(std::int64_t steps) {
  Series series;
  for (std::int64_t step = 1; step <= steps; ++step) {
    series.steps.push_back(step);
    series.values.push_back(std::sin(0.37 * static_cast<double>(step)));
  }
  return series;
}

TEST(Series, AShortOneStaysAsItIs) {
  const Series series = wave(400);
  EXPECT_EQ(thin(series, 400).values, series.values);
  EXPECT_EQ(thin(series, 400).steps, series.steps);
  EXPECT_TRUE(thin({}, 400).values.empty());
}

TEST(Series, ThinningKeepsEndsAndExtremesAndInventsNothing) {
  Series series = wave(100000);
  series.values[54321] = 7;
  series.values[54323] = -9;
  const Series thinned = thin(series, 400);
  EXPECT_LE(thinned.values.size(), 400u);
  EXPECT_GT(thinned.values.size(), 300u);
  EXPECT_EQ(thinned.steps.front(), 1);
  EXPECT_EQ(thinned.steps.back(), 100000);
  EXPECT_EQ(std::ranges::max(thinned.values), 7);
  EXPECT_EQ(std::ranges::min(thinned.values), -9);
  for (std::size_t i = 0; i < thinned.values.size(); ++i) {
    EXPECT_EQ(thinned.values[i], series.values[static_cast<std::size_t>(thinned.steps[i] - 1)]);
  }
  for (std::size_t i = 1; i < thinned.values.size(); ++i) {
    EXPECT_LT(thinned.steps[i - 1], thinned.steps[i]);
  }
}

// By hand: two ranges, steps 1 to 5 and 6 to 10 (the limit is 5.5).
TEST(Series, ThinningByHand) {
  const Series series{{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, {5, 1, 9, 2, 3, 4, 4, 4, 4, 4}};
  const Series thinned = thin(series, 8);
  EXPECT_EQ(thinned.steps, (std::vector<std::int64_t>{1, 2, 3, 5, 6, 10}));
  EXPECT_EQ(thinned.values, (std::vector<double>{5, 1, 9, 3, 4, 4}));
}

TEST(Series, RangesAreOfStepsSoThatGapsStayGaps) {
  const Series series{{1, 2, 3, 4, 5, 6, 7, 8, 9, 1000}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 0}};
  EXPECT_EQ(thin(series, 8).steps, (std::vector<std::int64_t>{1, 9, 1000}));
}

TEST(Series, MeansOfStretches) {
  const Series series{{10, 20, 30, 40, 50}, {1, 2, 3, 4, 8}};
  const Series means = block_means(series, 2);  // of two and of three values
  EXPECT_EQ(means.steps, (std::vector<std::int64_t>{10, 40}));
  EXPECT_EQ(means.values, (std::vector<double>{1.5, 5}));
  EXPECT_EQ(block_means(series, 5).values, series.values);
  EXPECT_THROW(block_means(series, 6), Error);
}

}  // namespace
}  // namespace metarm
