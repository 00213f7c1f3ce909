// The difference loss J on the response groups of a step, its gradient, and products of its Hessian with a vector, by microbatches of up to
// tokens_per_batch tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/train/gradient_sum.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct DifferenceStep {
  const TrainingSetup& setup;
  const std::vector<EncodedGroup>& groups;
  std::int64_t tokens_per_batch = 2048;
  bool gradient_checkpointing = false;

  // All at the weights that the reward model reads now, for the groups at `rows`, which the ranks divide; the mean over all.
  double value(std::span<const std::int64_t> rows) const;
  // Adds ∇J to `gradient`, float32 [total], this rank's part of it, and returns J.
  double gradient(std::span<const std::int64_t> rows, at::Tensor& gradient) const;
  // Adds weight · ∇J, of this rank's groups, to the gradient that is being summed, and returns J.
  double backward(std::span<const std::int64_t> rows, double weight) const;
  // ∇²J · vector, of float32 [total], by differentiating ⟨∇J, vector⟩: this rank's part of it.
  at::Tensor hessian_product(std::span<const std::int64_t> rows, const at::Tensor& vector) const;

  std::int64_t token_count(std::span<const std::int64_t> rows) const;
};

}  // namespace metarm
