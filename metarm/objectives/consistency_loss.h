// How far two readings of the same responses, such as under two dropout masks, are apart on which of them is the better one: R-Drop's
// distance (Liang et al. 2021, arXiv 2106.14448) between the two preferences that a reward model has for each two responses to a prompt.
//
//   C = mean over prompts p of  2/(K_p (K_p − 1)) · Σ_{i<j} ½ [KL(q ‖ q') + KL(q' ‖ q)],   q = σ(d), d = r_pi − r_pj, and q', d' of r'
//
// The half of the two divergences is ½ (q − q') (d − d').
//
// Range     [0, ∞), in nats as the pairwise loss; 0 where all differences agree. Unchanged by adding a constant to r or to r'.
// Cost      O(Σ K_p²), no host synchronisation.
// Value     C([0, 1], [0, −1]) = 0.462117157 = 2 σ(1) − 1
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace metarm {

// reward_B, other_B: float32 [sum of sizes], the prompts' responses one prompt after another; sizes: K of each prompt, at least 2. Returns
// each prompt's value, float32 [P], with gradients to both.
at::Tensor consistency_losses(const at::Tensor& reward_B, const at::Tensor& other_B, std::span<const std::int64_t> sizes);

}  // namespace metarm
