// PPO's critic: a reward model whose head, read before each token of a response, says which rewards are still to come. It reads the
// policy's tokens, and learns from what came by the clipped value loss (objectives/value_loss.h).
//
//   loss = vf_coef · mean over an update's response tokens of l(V, V_old, G)
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "metarm/base/log.h"
#include "metarm/rl/experience.h"
#include "metarm/rl/ppo_options.h"
#include "metarm/train/loop.h"

namespace metarm {

class Critic {
 public:
  // From --critic, or the reward model. With LoRA it is adapters over that, which are written apart from it where it is a whole checkpoint;
  // else the critic is written whole. Input error for a reward model of other tokens than the policy's.
  Critic(const PpoOptions& options, const TrainingSetup& policy, Log& log);

  // What is trained; `mini_batch(step, update)` says from what.
  SecondModel second_model(std::function<MiniBatch(std::int64_t step, std::int64_t update)> mini_batch);
  // V of the response tokens at the weights that it has, float32 [S] on the CPU, on all ranks.
  at::Tensor values(std::span<const ResponseTree> trees);
  TrainingSetup& setup() { return setup_; }

 private:
  Json add_gradient(const MiniBatch& part, std::int64_t step, std::int64_t update, at::Tensor& gradient);

  const PpoOptions& options_;
  PpoTrainingOptions training_;
  TrainingSetup setup_;
  ResponsePass pass_;
  std::array<double, 2> sums_ = {};  // loss and share of clipped tokens, of the step's updates
};

}  // namespace metarm
