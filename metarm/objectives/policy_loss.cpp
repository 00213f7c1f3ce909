#include "metarm/objectives/policy_loss.h"

#include <ATen/ATen.h>

namespace metarm {

PolicyLosses policy_losses(const at::Tensor& log_prob_S, const at::Tensor& old_log_prob_S, const at::Tensor& advantage_S,
                           double cliprange) {
  const at::Tensor ratio_S = at::exp(log_prob_S - old_log_prob_S), plain_S = ratio_S * advantage_S,
                   clipped_S = at::clamp(ratio_S, 1 - cliprange, 1 + cliprange) * advantage_S;
  return {-at::minimum(plain_S, clipped_S), clipped_S.detach().lt(plain_S.detach()).to(at::kFloat)};
}

}  // namespace metarm
