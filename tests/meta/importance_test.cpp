#include "metarm/meta/importance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace metarm {
namespace {

double sum_of(const ImportanceWeights& weights) { return std::accumulate(weights.of_pairs.begin(), weights.of_pairs.end(), 0.0); }

TEST(ImportanceWeights, ByHand) {
  // exp(0.5 s) is 1, 2 and 3, with mean 2.
  const ImportanceWeights weights = importance_weights(std::vector<double>{0, 2 * std::log(2.0), 2 * std::log(3.0)}, 0.5);
  ASSERT_EQ(weights.of_pairs.size(), 3U);
  EXPECT_NEAR(weights.of_pairs[0], 0.5, 1e-12);
  EXPECT_NEAR(weights.of_pairs[1], 1.0, 1e-12);
  EXPECT_NEAR(weights.of_pairs[2], 1.5, 1e-12);
  EXPECT_NEAR(weights.effective_share, 9.0 / (3 * 3.5), 1e-12);
  EXPECT_NEAR(weights.min, 0.5, 1e-12);
  EXPECT_NEAR(weights.max, 1.5, 1e-12);
}

TEST(ImportanceWeights, AConstantInTheLogRatiosAndTemperature0SayNothing) {
  for (const ImportanceWeights& weights :
       {importance_weights(std::vector<double>{-7, -7, -7}, 1), importance_weights(std::vector<double>{-300, 5, 40}, 0)}) {
    EXPECT_EQ(weights.of_pairs, (std::vector<double>{1, 1, 1}));
    EXPECT_EQ(weights.effective_share, 1);
  }
}

TEST(ImportanceWeights, StayFiniteWhereTheRatiosAreNot) {
  const std::vector<double> far = {-5000, 4000, 3999.0};
  for (const double temperature : {1.0, 1e300}) {
    const ImportanceWeights weights = importance_weights(far, temperature);
    EXPECT_NEAR(sum_of(weights), 3, 1e-12);
    EXPECT_EQ(weights.min, 0);
    EXPECT_GE(weights.effective_share, 1.0 / 3 - 1e-12);
    EXPECT_GT(weights.of_pairs[1], weights.of_pairs[2]);
  }
  EXPECT_NEAR(importance_weights(far, 1e300).effective_share, 1.0 / 3, 1e-12);
}

TEST(ImportanceWeights, OfAStepAreTheMeanOfItsPairs) {
  const ImportanceWeights weights = importance_weights(std::vector<double>{0, std::log(2.0), std::log(3.0)}, 1);
  const Json figures = weights.figures(std::vector<std::int64_t>{2, 1});
  EXPECT_NEAR(figures["importance"].get<double>(), 1.25, 1e-12);
  EXPECT_EQ(figures["importance_max"].get<double>(), weights.max);
}

}  // namespace
}  // namespace metarm
