// Advantages: how much better a response, or what follows a token of it, did than expected. On the CPU, float32, without gradients.
//
//   rloo   A_i = R_i − mean of R_j over the other responses to the prompt   (Ahmadian et al. 2024, arXiv 2402.14740, eq. 8)
//   grpo   A_i = (R_i − mean R) / (deviation of R + 1e-4)                   (Shao et al. 2024, arXiv 2402.03300; deviation with k − 1,
//                                                                            as TRL)
//   gae    A_t = d_t + gamma lambda A_{t+1},  d_t = r_t + gamma V_{t+1} − V_t   (Schulman et al. 2016, arXiv 1506.02438, eq. 16), with V
//          and A of 0 after a response's last token. Where V = 0 and lambda = 1, the discounted sum of this and later rewards (REINFORCE;
//          Williams 1992).
//
// The first two are unchanged by adding a constant to a prompt's rewards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace metarm {

// reward_PK: k >= 2 responses a prompt -> [P, K].
at::Tensor rloo_advantages(const at::Tensor& reward_PK);
at::Tensor grpo_advantages(const at::Tensor& reward_PK);
// Rewards and values of tokens [S], those of row b at [row_begin[b], row_begin[b + 1]) -> [S]. Values are of the state before a token.
at::Tensor gae_advantages(const at::Tensor& reward_S, const at::Tensor& value_S, std::span<const std::int64_t> row_begin, double gamma,
                          double lambda);
// (x − mean) / sqrt(variance + 1e-8), population variance, so that one value becomes 0. TRL divides by the variance with n − 1: for n
// values its result is sqrt(1 − 1/n) times this.
at::Tensor whiten(const at::Tensor& value_S);

}  // namespace metarm
