#include "metarm/objectives/pairwise_loss.h"

#include <ATen/ATen.h>

namespace metarm {

at::Tensor pairwise_losses(const at::Tensor& chosen_B, const at::Tensor& rejected_B, const at::Tensor& margin_B, const at::Tensor& weight_B,
                           const PairwiseLossOptions& options) {
  at::Tensor difference_B = chosen_B - rejected_B;
  if (margin_B.defined()) difference_B = difference_B - margin_B;
  at::Tensor loss_B = -at::log_sigmoid(difference_B);
  if (options.label_smoothing > 0)
    loss_B = (1 - options.label_smoothing) * loss_B - options.label_smoothing * at::log_sigmoid(-difference_B);
  if (options.center_rewards_coefficient > 0) loss_B = loss_B + options.center_rewards_coefficient * (chosen_B + rejected_B).square();
  return weight_B.defined() ? loss_B * weight_B : loss_B;
}

}  // namespace metarm
