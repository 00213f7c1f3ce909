// How far apart a reward model puts the responses that the current policy drew for one prompt (MetaRM, arXiv 2405.00438, the difference
// loss J). The meta step raises it; only `--method joint` trains on it directly, and raises it too.
//
//   J = mean over prompts p of  2/K_p² · Σ_{i<j} σ(|r_pi − r_pj|)
//
// Range     per prompt [(K−1)/2K, (K−1)/K). Unchanged by adding a constant to r or by permuting responses.
// Gradient  0 at exact ties.   Cost  O(Σ K_p²), no host synchronisation.
// Values    J([0, 1]) = 0.365529289, J([0, 1, 3]) = 0.569873285
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

namespace metarm {

// reward_B: float32 [sum of sizes], the prompts' responses one prompt after another; sizes: K of each prompt, at least 2. Returns each
// prompt's value, float32 [P].
at::Tensor difference_losses(const at::Tensor& reward_B, std::span<const std::int64_t> sizes);

}  // namespace metarm
