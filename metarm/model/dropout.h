// Which outputs dropout drops: a function of a seed and, for each token, of the tokens from the first of its text to itself. So neither
// microbatches nor ranks change a mask, and a prompt's tokens have one, whichever tree they stand in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/model/token_tree.h"

namespace metarm {

// Of each token of the batch: a hash of the tokens on the path to it, itself included.
std::vector<std::uint64_t> path_keys(const Batch& batch);

// float32 [N, width] on the CPU for N keys: 0 with the probability `share`, of 0 up to 1, else 1 / (1 - share).
at::Tensor dropout_mask(std::span<const std::uint64_t> keys, std::int64_t width, double share, std::uint64_t seed);

}  // namespace metarm
