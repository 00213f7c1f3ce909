#include "metarm/rl/reward_shaping.h"

#include <gtest/gtest.h>

#include <cmath>

namespace metarm {
namespace {

Rollouts rollouts_of(std::vector<std::vector<float>> reward, std::vector<char> ended) {
  Rollouts made;
  made.reward = std::move(reward);
  made.ended = std::move(ended);
  return made;
}

TEST(RewardShaping, LeavesRewardsAloneUnlessAsked) {
  const PolicyObjectiveOptions options;
  EXPECT_EQ(RewardShaping(options).shape(rollouts_of({{1, -2}, {300}}, {1, 0, 1})), (std::vector<float>{1, -2, 300}));
}

TEST(RewardShaping, TakesThePenaltyThenClips) {
  PolicyObjectiveOptions options;
  options.missing_eos_penalty = 1;
  options.reward_clip_range = 2.5;
  EXPECT_EQ(RewardShaping(options).shape(rollouts_of({{1, 1}, {-2, 9}}, {1, 0, 0, 1})), (std::vector<float>{1, 0, -2.5, 2.5}));
}

// Of 1, 3 first, then of 1, 3, 8.
TEST(RewardShaping, NormalizesByAllStepsSoFar) {
  PolicyObjectiveOptions options;
  options.normalize_rewards = true;
  RewardShaping shaping(options);
  const std::vector<float> first = shaping.shape(rollouts_of({{1, 3}}, {1, 1}));
  EXPECT_NEAR(first[0], -1, 1e-6);
  EXPECT_NEAR(first[1], 1, 1e-6);
  const double deviation = std::sqrt((9.0 + 1 + 16) / 3);
  EXPECT_NEAR(shaping.shape(rollouts_of({{8}}, {1}))[0], 4 / deviation, 1e-6);
}

TEST(RewardShaping, GoesOnFromItsNumbers) {
  PolicyObjectiveOptions options;
  options.normalize_rewards = true;
  options.kl_target = 1;
  RewardShaping whole(options), begun(options), resumed(options);
  for (RewardShaping* shaping : {&whole, &begun}) {
    shaping->shape(rollouts_of({{1, 3}}, {1, 1}));
    shaping->adapt(5, 1000);
  }
  const auto from = begun.numbers(), to = resumed.numbers();
  for (std::size_t i = 0; i < from.size(); ++i) *to[i].second = *from[i].second;
  EXPECT_EQ(resumed.shape(rollouts_of({{8}}, {1})), whole.shape(rollouts_of({{8}}, {1})));
  EXPECT_EQ(resumed.kl_coef(), whole.kl_coef());
}

TEST(RewardShaping, TheCoefficientFollowsTheKl) {
  PolicyObjectiveOptions options;
  options.kl_coef = 0.1;
  options.kl_target = 2;
  options.kl_horizon = 100;
  RewardShaping shaping(options);
  shaping.adapt(2.2, 50);  // a tenth over the target
  EXPECT_NEAR(shaping.kl_coef(), 0.1 * (1 + 0.1 * 0.5), 1e-9);
  shaping.adapt(0, 50);  // far below: a fifth counts
  EXPECT_NEAR(shaping.kl_coef(), 0.105 * (1 - 0.2 * 0.5), 1e-9);
}

}  // namespace
}  // namespace metarm
