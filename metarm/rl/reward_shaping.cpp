#include "metarm/rl/reward_shaping.h"

#include <algorithm>
#include <cmath>

namespace metarm {

// Welford's update.
void RewardShaping::take_in(double reward) {
  const double before = reward - mean_;
  mean_ += before / ++count_;
  squares_ += before * (reward - mean_);
}

double RewardShaping::normalized(double reward) const {
  constexpr double kLeast = 1e-8;
  return (reward - mean_) / std::sqrt(std::max(squares_ / count_, kLeast));
}

std::vector<float> RewardShaping::shape(const Rollouts& rollouts) {
  std::vector<double> rewards;
  for (const std::vector<float>& group : rollouts.reward) rewards.insert(rewards.end(), group.begin(), group.end());
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    if (!rollouts.ended[i]) rewards[i] -= options_.missing_eos_penalty;
    if (options_.normalize_rewards) take_in(rewards[i]);
  }
  std::vector<float> shaped;
  for (double reward : rewards) {
    if (options_.normalize_rewards) reward = normalized(reward);
    if (options_.reward_clip_range > 0) reward = std::clamp(reward, -options_.reward_clip_range, options_.reward_clip_range);
    shaped.push_back(static_cast<float>(reward));
  }
  return shaped;
}

void RewardShaping::adapt(double kl, std::int64_t responses) {
  if (options_.kl_target <= 0) return;
  const double error = std::clamp(kl / options_.kl_target - 1, -0.2, 0.2);
  kl_coef_ *= 1 + error * static_cast<double>(responses) / options_.kl_horizon;
}

std::vector<std::pair<std::string, double*>> RewardShaping::numbers() {
  return {{"kl_coef", &kl_coef_}, {"reward_count", &count_}, {"reward_mean", &mean_}, {"reward_squares", &squares_}};
}

}  // namespace metarm
