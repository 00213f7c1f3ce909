// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101; betas 0.9 and 0.999, epsilon 1e-8) and plain SGD, over flat float32 weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/model/weights.h"
#include "metarm/train/training_options.h"

namespace metarm {

class Optimizer {
 public:
  // `weights` is moved in place and must outlive this. Weight decay is decoupled in AdamW, added to the gradient in SGD, and concerns
  // tensors with `decay` only.
  Optimizer(OptimizerKind kind, const FlatTensors& weights, double weight_decay);

  // One step with a gradient, float32 [total]; `step` counts from 0.
  void apply(const at::Tensor& gradient, double lr, std::int64_t step);

  // What a resumed run needs, named; flat float32 tensors to be filled in place. Empty for SGD.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }

 private:
  void apply_adamw(const at::Tensor& gradient, double lr, std::int64_t step);
  void apply_sgd(const at::Tensor& gradient, double lr);

  OptimizerKind kind_;
  const FlatTensors& weights_;
  double weight_decay_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

// Scales `gradient` so that its length is at most `max_norm` (0: any) and returns the length before.
double clip_gradient(at::Tensor& gradient, double max_norm);

}  // namespace metarm
