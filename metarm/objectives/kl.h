// Estimates of KL(pi || pi_ref) from tokens that pi drew (Schulman 2020, "Approximating KL Divergence"), a term a token, d = log pi − log
// pi_ref:
//
//   k1 = d                  unbiased, of either sign
//   k2 = d² / 2             biased, never negative; its gradient is that of the KL
//   k3 = exp(−d) − 1 + d    unbiased, never negative
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

enum class KlEstimator { k1, k2, k3 };

// float32 [S] -> [S].
at::Tensor kl_estimates(const at::Tensor& log_prob_S, const at::Tensor& reference_log_prob_S, KlEstimator estimator);

}  // namespace metarm
