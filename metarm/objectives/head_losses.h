// What heads are trained with besides the pairwise loss: pure functions of features and rewards.
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

// KL(N(μ, σ²) ‖ N(0, 1)), summed over the code's dimensions: what a row's code tells of its text at most (InfoRM, Miao et al. 2024, arXiv
// 2402.09345; the variational information bottleneck, Alemi et al. 2017, arXiv 1612.00410).
//
//   1/2 · Σ_k (μ_k² + σ_k² − log σ_k² − 1),   0 for a code that tells nothing
//
// mean, log_variance: float32 [B, K]. Returns float32 [B], in nats.
at::Tensor code_information(const at::Tensor& mean_BK, const at::Tensor& log_variance_BK);

// Pearson's correlation of two float32 [B], B at least 2: a number in [−1, 1]; 0 where one of them does not vary.
at::Tensor correlation(const at::Tensor& a_B, const at::Tensor& b_B);

// Two heads on one feature share what there is to say, length to the one and the rest to the other (ODIN, Chen et al. 2024, arXiv
// 2402.07319):
//
//   |ρ(quality, length)| − ρ(of_length, length) + |<w_quality, w_length>| / (‖w_quality‖ ‖w_length‖)
//
// quality, of_length: the two heads' rewards, float32 [B]; length: float32 [B]; the heads: float32 [1, D]. ODIN's heads are of length 1 in
// the product; here it is divided by their lengths. A number.
at::Tensor length_penalty(const at::Tensor& quality_B, const at::Tensor& of_length_B, const at::Tensor& length_B,
                          const at::Tensor& quality_head, const at::Tensor& length_head);

}  // namespace metarm
