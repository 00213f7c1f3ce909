#include "metarm/rl/rollouts.h"

#include <gtest/gtest.h>

namespace metarm {
namespace {

// Of so many responses a prompt, of one token each.
Rollouts rollouts_of(std::vector<std::vector<float>> reward) {
  const std::size_t count = reward.size() * reward.front().size();
  Rollouts made;
  made.responses = static_cast<std::int64_t>(reward.front().size());
  made.reward = std::move(reward);
  made.rows.resize(count);
  made.ended.assign(count, 1);
  for (std::size_t i = 0; i <= count; ++i) made.row_begin.push_back(static_cast<std::int64_t>(i));
  return made;
}

// The first prompt's differences are 1, 2, 3, the second's 0, 0.125, 0.125; a near tie is below 0.2, a step of the histogram 0.5.
TEST(Rollouts, DifferencesInAUnitByHand) {
  const Json figures = describe(rollouts_of({{0, 1, 3}, {2, 2.125, 2}}), 2);
  EXPECT_NEAR(figures["reward_difference_mean"].get<double>(), (2 + 0.25 / 3) / 2, 1e-12);
  EXPECT_NEAR(figures["reward_difference_scaled_mean"].get<double>(), (2 + 0.25 / 3) / 4, 1e-12);
  EXPECT_NEAR(figures["reward_difference_near_ties"].get<double>(), 0.5, 1e-12);
  EXPECT_EQ(figures["reward_difference_unit"].get<double>(), 2);
  EXPECT_EQ(figures["reward_difference_histogram"].get<std::vector<std::int64_t>>(),
            (std::vector<std::int64_t>{3, 0, 1, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(Rollouts, WithoutAUnitThereAreRawDifferencesAlone) {
  const Json figures = describe(rollouts_of({{0, 1, 3}}));
  EXPECT_TRUE(figures.contains("reward_difference_mean"));
  for (const char* scaled : {"unit", "scaled_mean", "near_ties", "histogram"})
    EXPECT_FALSE(figures.contains(std::string("reward_difference_") + scaled)) << scaled;
}

TEST(Rollouts, OneResponseAPromptHasNoDifferences) {
  EXPECT_FALSE(describe(rollouts_of({{0}, {1}}), 1).contains("reward_difference_mean"));
}

}  // namespace
}  // namespace metarm
