// The reward that a policy implies against a reference policy (DPO; Rafailov et al. 2023, arXiv 2305.18290, eq. 5, less what depends on the
// prompt alone): how much more probable it makes a response, in units of 1 / beta.
//
//   r = beta · (log pi(y | x) − log pi_ref(y | x))
//
// DPO's loss is the pairwise loss (pairwise_loss.h) of implicit rewards, −log σ(r_chosen − r_rejected); with label smoothing that of cDPO
// (Mitchell 2023), with margins that of ODPO (Amini et al. 2024, arXiv 2402.10571).
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

// Log-probabilities of whole responses, sums over their tokens, float32 [B] -> [B]. Gradient: beta with respect to log_prob.
at::Tensor implicit_rewards(const at::Tensor& log_prob_B, const at::Tensor& reference_log_prob_B, double beta);

}  // namespace metarm
