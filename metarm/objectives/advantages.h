// Advantages: how much better a response, or what follows a token of it, did than expected. On the CPU, float32, without gradients.
//
//   rloo   A_i = R_i − mean of R_j over the other responses to the prompt   (Ahmadian et al. 2024, arXiv 2402.14740, eq. 8)
//   grpo   A_i = (R_i − mean R) / (deviation of R + 1e-4)                   (Shao et al. 2024, arXiv 2402.03300; deviation with k − 1, as
//   TRL) to go  G_t = sum of r_s over the tokens s >= t of the response          (Williams 1992; REINFORCE without discount)
//
// All are unchanged by adding a constant to a prompt's rewards but for the sums to go.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace metarm {

// reward_PK: k >= 2 responses a prompt -> [P, K].
at::Tensor rloo_advantages(const at::Tensor& reward_PK);
at::Tensor grpo_advantages(const at::Tensor& reward_PK);
// Rewards of tokens [S], those of row b at [row_begin[b], row_begin[b + 1]) -> [S].
at::Tensor rewards_to_go(const at::Tensor& reward_S, std::span<const std::int64_t> row_begin);
// (x − mean) / sqrt(variance + 1e-8), population variance, as TRL whitens.
at::Tensor whiten(const at::Tensor& value_S);

}  // namespace metarm
