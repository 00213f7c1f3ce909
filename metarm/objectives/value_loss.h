// The clipped value loss of PPO's critic, a term a token: how far its value V is from the return G that came (Schulman et al. 2017, arXiv
// 1707.06347, eq. 9; clipped around the value V_old before the step's updates as OpenAI Baselines' PPO2, TRL and OpenRLHF do).
//
//   l = 1/2 max((V − G)², (clip(V, V_old − eps, V_old + eps) − G)²)
//
// Gradient  V − G with respect to V where the unclipped term is the larger one or V is within eps of V_old, else 0.
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

struct ValueLosses {
  at::Tensor loss_S;     // float32
  at::Tensor clipped_S;  // 1 where the clipped term is the larger one, else 0
};
// value, old_value, return: float32 [S]. cliprange 0: never clipped.
ValueLosses value_losses(const at::Tensor& value_S, const at::Tensor& old_value_S, const at::Tensor& return_S, double cliprange);

// 1 − variance of G − V over variance of G: 1 for a perfect critic, 0 for a constant one. Not finite where all G are equal.
double explained_variance(const at::Tensor& value_S, const at::Tensor& return_S);

}  // namespace metarm
