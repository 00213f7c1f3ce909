// The steps of `metarm ppo`, whose header says what they are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/rl/critic.h"
#include "metarm/rl/experience.h"
#include "metarm/rl/reward_shaping.h"
#include "metarm/train/data_order.h"
#include "metarm/train/loop.h"

namespace metarm {

struct PpoData {
  PolicyPrompts prompts, probe;
};

class PolicyOptimisation {
 public:
  // Loads the models around the policy, which `setup` has. All arguments outlive this, and this its objective().
  PolicyOptimisation(const PpoOptions& options, TrainingSetup& setup, const PpoData& data, Log& log);

  Objective objective();

 private:
  std::uint64_t seed() const { return static_cast<std::uint64_t>(options_.common.seed); }

  Json add_gradient(std::int64_t step, std::int64_t update, at::Tensor& gradient);
  at::Tensor loss(const Microbatch& batch, const MiniBatch& part, std::array<double, 3>& sums);
  MiniBatch mini_batch(std::int64_t step, std::int64_t update) const;

  void begin(std::int64_t step);
  at::Tensor reference_log_probs(std::span<const ResponseTree> trees);
  Json measure(const Rollouts& rollouts, const at::Tensor& reference_log_prob_S, double unit, const std::string& where) const;
  void describe_step(std::int64_t step, std::int64_t prompts);
  void add_advantages(const std::vector<float>& shaped);
  at::Tensor spread(const at::Tensor& advantage_PK) const;
  void save_responses(std::int64_t step) const;
  HeldOutFigures evaluate();

  const PpoOptions& options_;
  const PolicyObjectiveOptions& objective_;
  TrainingSetup& setup_;
  const PpoData& data_;
  RolloutMaker maker_;
  Model reference_;
  std::optional<Critic> critic_;
  RewardShaping shaping_;
  ResponsePass pass_;
  DataOrder order_;
  double reward_unit_ = 0;  // the deviation of the rewards that the first step drew; 0: not yet, or they were all equal

  // Of the step.
  Experience experience_;
  Json figures_;
  std::array<double, 3> sums_ = {};  // loss, entropy and share of clipped tokens, of its updates
  std::int64_t tokens_ = 0;
};

}  // namespace metarm
