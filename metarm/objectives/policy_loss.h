// The clipped policy loss of PPO (Schulman et al. 2017, arXiv 1707.06347, eq. 7), a term a token, which GRPO, RLOO and REINFORCE share
// here:
//
//   l = -min(rho A, clip(rho, 1 - eps, 1 + eps) A),   rho = exp(log pi - log pi_old)
//
// Gradient  -rho A with respect to log pi where the unclipped term is the smaller one, else 0: at rho = 1 that of REINFORCE.
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

struct PolicyLosses {
  at::Tensor loss_S;     // float32
  at::Tensor clipped_S;  // 1 where the clipped term is the smaller one and differs, else 0
};
// log_prob, old_log_prob, advantage: float32 [S].
PolicyLosses policy_losses(const at::Tensor& log_prob_S, const at::Tensor& old_log_prob_S, const at::Tensor& advantage_S, double cliprange);

}  // namespace metarm
