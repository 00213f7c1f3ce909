// What becomes of a reward model's rewards before advantages are taken, and of the KL coefficient. Both remember earlier steps.
//
//   missing end     r − missing_eos_penalty for a response that did not end by itself
//   normalized      (r − mean) / deviation, both over all responses of all steps so far, this one's with them
//   clipped         to [−reward_clip_range, reward_clip_range]
//   coefficient     beta · (1 + clip(KL / target − 1, −0.2, 0.2) · responses / horizon), after each step (Ziegler et al. 2019, arXiv
//                   1909.08593, section 2.2, with a target of 0: fixed)
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "metarm/rl/rollouts.h"

namespace metarm {

class RewardShaping {
 public:
  explicit RewardShaping(const PolicyObjectiveOptions& options) : options_(options), kl_coef_(options.kl_coef) {}

  double kl_coef() const { return kl_coef_; }
  // Takes a step's rewards into the running mean and deviation, and returns them shaped, float32 [B].
  std::vector<float> shape(const Rollouts& rollouts);
  void adapt(double kl, std::int64_t responses);

  // For a resumed run, which has them restored in place.
  std::vector<std::pair<std::string, double*>> numbers();

 private:
  void take_in(double reward);
  double normalized(double reward) const;

  const PolicyObjectiveOptions& options_;
  double kl_coef_;
  double count_ = 0, mean_ = 0, squares_ = 0;  // of rewards, and of their distances from the mean
};

}  // namespace metarm
