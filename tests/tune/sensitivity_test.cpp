#include "metarm/tune/sensitivity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "metarm/base/random.h"

namespace metarm {
namespace {

using Column = std::vector<double>;

Column drawn(std::size_t size, const char* purpose, std::uint64_t seed) {
  Column column;
  RandomStream random(seed, purpose);
  for (std::size_t i = 0; i < size; ++i) column.push_back(random.uniform());
  return column;
}

TEST(Sensitivity, RanksShareTheirMeans) { EXPECT_EQ(mean_ranks(Column{3, 1, 3, -2}), (Column{3.5, 2, 3.5, 1})); }

// Spearman's by hand: values 1..5, figures of ranks 2 1 4 3 5: 1 - 6 * (1 + 1 + 1 + 1 + 0) / (5 * 24) = 0.8.
TEST(Sensitivity, SpearmansCorrelation) {
  const Sensitivity found = sensitivity_to_number(Column{1, 10, 100, 1000, 10000}, Column{0.2, 0.1, 0.4, 0.3, 9.0}, 1);
  EXPECT_NEAR(found.rank_correlation, 0.8, 1e-12);
  EXPECT_LT(found.chance_low, -0.7);
  EXPECT_GT(found.chance_high, 0.7);  // five trials prove little
}

TEST(Sensitivity, ABestValueInTheMiddleIsSeen) {
  Column values, goodness;
  for (int i = 0; i < 21; ++i) {
    values.push_back(i);
    goodness.push_back(-std::abs(i - 10));
  }
  const Sensitivity found = sensitivity_to_number(values, goodness, 1);
  EXPECT_NEAR(found.rank_correlation, 0, 1e-9);
  EXPECT_GT(found.share, 0.85);
  EXPECT_LT(found.p, 0.001);
  EXPECT_GT(found.share, found.chance_share);
}

TEST(Sensitivity, OfNothingIsWithinChance) {
  double share = 0, p = 0, outside = 0;
  const int runs = 200;
  for (int run = 0; run < runs; ++run) {
    const auto seed = static_cast<std::uint64_t>(run);
    const Sensitivity found = sensitivity_to_number(drawn(9, "x", seed), drawn(9, "y", seed), seed);
    share += found.share / runs;
    p += found.p / runs;
    outside += (found.rank_correlation < found.chance_low || found.rank_correlation > found.chance_high) / static_cast<double>(runs);
  }
  EXPECT_LT(share, 0.15);  // R^2 itself has a mean of 2 / 8; what is below chance counts as 0
  EXPECT_NEAR(p, 0.5, 0.07);
  EXPECT_NEAR(outside, 0.05, 0.05);
}

TEST(Sensitivity, OfChoices) {
  const std::vector<std::int64_t> choices = {0, 1, 2, 0, 1, 2, 0, 1, 2};
  const Sensitivity all = sensitivity_to_choice(choices, Column{1, 9, 4, 1, 9, 4, 1, 9, 4}, 1);
  EXPECT_NEAR(all.share, 1, 1e-9);
  EXPECT_TRUE(std::isnan(all.rank_correlation));
  const Sensitivity none = sensitivity_to_choice(choices, Column{1, 1, 1, 2, 2, 2, 3, 3, 3}, 1);
  EXPECT_NEAR(none.share, 0, 1e-9);
  EXPECT_NEAR(none.p, 1, 1e-9);
}

TEST(Sensitivity, FailedTrialsAreTheWorst) {
  const double failed = -std::numeric_limits<double>::infinity();
  const Sensitivity found = sensitivity_to_number(Column{1, 2, 3, 4, 5, 6}, Column{failed, failed, 3, 4, 5, 6}, 1);
  EXPECT_GT(found.rank_correlation, 0.95);
}

TEST(Sensitivity, IsUndefinedWhereNothingVaries) {
  EXPECT_TRUE(std::isnan(sensitivity_to_number(Column{1, 2, 3}, Column{5, 5, 5}, 1).share));
  EXPECT_TRUE(std::isnan(sensitivity_to_number(Column{1, 1, 1}, Column{5, 6, 7}, 1).p));
  EXPECT_TRUE(std::isnan(sensitivity_to_choice(std::vector<std::int64_t>{0, 1, 2}, Column{5, 6, 7}, 1).share));  // each its own mean
  EXPECT_TRUE(to_json(sensitivity_to_number(Column{1, 2, 3}, Column{5, 5, 5}, 1))["share"].is_null());
}

}  // namespace
}  // namespace metarm
