#include "metarm/objectives/pairwise_loss.h"

#include <ATen/ATen.h>

namespace metarm {

at::Tensor pairwise_losses(const at::Tensor& chosen_B, const at::Tensor& rejected_B, const PairTargets& targets,
                           const PairwiseLossOptions& options) {
  at::Tensor difference_B = chosen_B - rejected_B;
  if (targets.margin_B.defined()) difference_B = difference_B - targets.margin_B;
  at::Tensor loss_B = -at::log_sigmoid(difference_B);
  if (targets.label_B.defined() || options.label_smoothing > 0) {
    const at::Tensor label_B = targets.label_B.defined() ? targets.label_B : at::ones_like(difference_B);
    const at::Tensor p_B = options.label_smoothing + (1 - 2 * options.label_smoothing) * label_B;
    loss_B = p_B * loss_B - (1 - p_B) * at::log_sigmoid(-difference_B);
  }
  if (options.center_rewards_coefficient > 0) loss_B = loss_B + options.center_rewards_coefficient * (chosen_B + rejected_B).square();
  return targets.weight_B.defined() ? loss_B * targets.weight_B : loss_B;
}

}  // namespace metarm
