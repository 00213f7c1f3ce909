#include "metarm/train/optimizer.h"

#include <ATen/ATen.h>

namespace metarm {

namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

}  // namespace

Optimizer::Optimizer(OptimizerKind kind, const FlatTensors& weights, double weight_decay)
    : kind_(kind), weights_(weights), weight_decay_(weight_decay) {
  if (kind == OptimizerKind::adamw)
    for (const char* name : {"adamw.first_moment", "adamw.second_moment"}) state_.emplace_back(name, at::zeros_like(weights.flat()));
}

void Optimizer::apply(const at::Tensor& gradient, double lr, std::int64_t step) {
  const at::NoGradGuard no_grad;
  if (kind_ == OptimizerKind::adamw)
    apply_adamw(gradient, lr, step);
  else
    apply_sgd(gradient, lr);
}

void Optimizer::apply_adamw(const at::Tensor& gradient, double lr, std::int64_t step) {
  const at::Tensor steps = at::full({}, static_cast<double>(step + 1), weights_.flat().options());
  // Tensors with and without weight decay are two calls of torch's fused kernel.
  for (const bool decay : {true, false}) {
    std::vector<at::Tensor> weights, gradients, first, second, step_of;
    for (std::size_t i = 0; i < weights_.size(); ++i) {
      if (weights_.info(i).decay != decay) continue;
      const std::int64_t offset = weights_.offset(i), count = weights_.tensor(i).numel();
      weights.push_back(weights_.flat().narrow(0, offset, count));
      gradients.push_back(gradient.narrow(0, offset, count));
      first.push_back(state_[0].second.narrow(0, offset, count));
      second.push_back(state_[1].second.narrow(0, offset, count));
      step_of.push_back(steps);
    }
    if (!weights.empty())
      at::_fused_adamw_(weights, gradients, first, second, {}, step_of, lr, kBeta1, kBeta2, decay ? weight_decay_ : 0.0, kEpsilon, false,
                        false);
  }
}

void Optimizer::apply_sgd(const at::Tensor& gradient, double lr) {
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    at::Tensor weight = weights_.flat().narrow(0, weights_.offset(i), weights_.tensor(i).numel());
    if (weight_decay_ > 0 && weights_.info(i).decay) weight.mul_(1 - lr * weight_decay_);
    weight.sub_(gradient.narrow(0, weights_.offset(i), weight.numel()), lr);
  }
}

double clip_gradient(at::Tensor& gradient, double max_norm) {
  const at::NoGradGuard no_grad;
  const double norm = gradient.norm().item<double>();
  if (max_norm > 0 && norm > max_norm) gradient.mul_(max_norm / norm);
  return norm;
}

}  // namespace metarm
