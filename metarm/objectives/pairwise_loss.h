// The pairwise loss of reward models (Bradley-Terry; Stiennon et al. 2020, arXiv 2009.01325): how surprised a reward model is by the
// labels.
//
//   L = mean over pairs of  w · [ (1 − ε) · −log σ(d) + ε · −log σ(−d) + c · (r_chosen + r_rejected)² ],   d = r_chosen − r_rejected −
//   margin
//
// ε label smoothing (the probability that a label is wrong), c centres rewards around 0 (TRL's center_rewards_coefficient), w the pair's
// weight. Range     [0, ∞) for c = 0.   Gradient  −w σ(−d) with respect to d for ε = 0.
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

struct PairwiseLossOptions {
  double label_smoothing = 0;             // [0, 0.5]
  double center_rewards_coefficient = 0;  // at least 0
};

// chosen, rejected, margin and weight: float32 [B], margin and weight may be undefined (0 and 1). Returns each pair's loss, float32 [B], so
// that a mean can be taken over parts of a batch.
at::Tensor pairwise_losses(const at::Tensor& chosen_B, const at::Tensor& rejected_B, const at::Tensor& margin_B, const at::Tensor& weight_B,
                           const PairwiseLossOptions& options);

}  // namespace metarm
