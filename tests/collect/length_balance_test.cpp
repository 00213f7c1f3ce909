#include "metarm/collect/length_balance.h"

#include <gtest/gtest.h>

#include <cmath>

namespace metarm {
namespace {

TEST(LengthBalance, WeightsGiveBothSidesHalf) {
  const std::vector<PairLength> pairs = {{10, 1}, {12, 1}, {0, 1}, {11, 1}, {-9, 1}};
  const std::vector<double> factors = balance_lengths(pairs, LengthBalance::weight, 1, 0);
  for (const std::size_t longer : {0, 1, 3}) EXPECT_NEAR(factors[longer], 4.0 / 6, 1e-12);  // of W₊ = 3, W₋ = 1
  EXPECT_NEAR(factors[4], 2, 1e-12);
  EXPECT_EQ(factors[2], 1);
}

TEST(LengthBalance, WeightsOfThePairsCount) {
  const std::vector<PairLength> pairs = {{10, 6}, {-9, 2}};
  EXPECT_EQ(balance_lengths(pairs, LengthBalance::weight, 1, 0), (std::vector<double>{8.0 / 12, 2}));
}

TEST(LengthBalance, BucketsAreBalancedOneByOne) {
  // Differences of 1 to 3 in the first bucket, of 40 and more in the second.
  const std::vector<PairLength> pairs = {{1, 1}, {-2, 1}, {3, 1}, {40, 1}, {50, 1}, {60, 1}};
  const std::vector<double> factors = balance_lengths(pairs, LengthBalance::weight, 2, 0);
  EXPECT_EQ(factors, (std::vector<double>{0.75, 1.5, 0.75, 0, 0, 0}));  // the second has one side alone
}

TEST(LengthBalance, EqualDifferencesShareABucket) {
  const std::vector<PairLength> pairs = {{5, 1}, {5, 1}, {5, 1}, {-5, 1}};
  EXPECT_EQ(balance_lengths(pairs, LengthBalance::weight, 4, 0), (std::vector<double>{4.0 / 6, 4.0 / 6, 4.0 / 6, 2}));
}

TEST(LengthBalance, ADrawKeepsAsManyOfBothSides) {
  std::vector<PairLength> pairs;
  for (int i = 0; i < 30; ++i) pairs.push_back({1 + i, 1});
  for (int i = 0; i < 10; ++i) pairs.push_back({-1 - i, 1});
  const std::vector<double> factors = balance_lengths(pairs, LengthBalance::draw, 1, 7);
  int longer = 0, shorter = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i) (i < 30 ? longer : shorter) += factors[i] == 1;
  EXPECT_EQ(longer, 10);
  EXPECT_EQ(shorter, 10);
  EXPECT_EQ(factors, balance_lengths(pairs, LengthBalance::draw, 1, 7));
  EXPECT_NE(factors, balance_lengths(pairs, LengthBalance::draw, 1, 8));
}

TEST(LengthBalance, Shares) {
  EXPECT_EQ(longer_share(std::vector<PairLength>{{4, 3}, {-4, 1}, {0, 9}}), 0.75);
  EXPECT_TRUE(std::isnan(longer_share(std::vector<PairLength>{{0, 1}})));
  EXPECT_EQ(effective_share(std::vector<PairLength>{{1, 2}, {1, 2}, {1, 0}}), 1);
  EXPECT_NEAR(effective_share(std::vector<PairLength>{{1, 1}, {1, 3}}), 16.0 / 20, 1e-12);
}

}  // namespace
}  // namespace metarm
