// The pairwise loss of reward models (Bradley-Terry; Stiennon et al. 2020, arXiv 2009.01325): how surprised a reward model is by the
// labels.
//
//   L = mean over pairs of  w · [ p · −log σ(d) + (1 − p) · −log σ(−d) + c · (r_chosen + r_rejected)² ],   d = r_chosen − r_rejected −
//   margin,   p = (1 − ε) q + ε (1 − q)
//
// q is the label: the probability that the chosen response is the better one, 1 but where a teacher says otherwise. ε label smoothing (the
// probability that a label is wrong), c centres rewards around 0 (TRL's center_rewards_coefficient), w the pair's weight. Range [0, ∞) for
// c = 0. Gradient w (σ(d) − p) with respect to d.
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

struct PairwiseLossOptions {
  double label_smoothing = 0;             // [0, 0.5]
  double center_rewards_coefficient = 0;  // at least 0
};

// What is given of each pair: float32 [B], or undefined.
struct PairTargets {
  at::Tensor margin_B = {};  // undefined: 0
  at::Tensor weight_B = {};  // undefined: 1
  at::Tensor label_B = {};   // q; undefined: 1
};

// chosen, rejected: float32 [B]. Returns each pair's loss, float32 [B], so that a mean can be taken over parts of a batch.
at::Tensor pairwise_losses(const at::Tensor& chosen_B, const at::Tensor& rejected_B, const PairTargets& targets,
                           const PairwiseLossOptions& options);

}  // namespace metarm
