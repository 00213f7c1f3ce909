#include "metarm/train/optimizer.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace metarm {

namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

}  // namespace

Optimizer::Optimizer(OptimizerKind kind, const FlatTensors& weights, const Part& part, double weight_decay)
    : kind_(kind), weights_(weights), part_(part), weight_decay_(weight_decay) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::int64_t begin = std::max(weights.offset(i), part.begin);
    const std::int64_t end = std::min(weights.offset(i) + weights.tensor(i).numel(), part.end);
    if (begin < end) pieces_.push_back({begin, end - begin, weights.info(i).decay});
  }
  if (kind == OptimizerKind::adamw)
    for (const char* name : {"adamw.first_moment", "adamw.second_moment"})
      state_.emplace_back(name, at::zeros({part.size()}, weights.flat().options()));
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
    for (const Piece& piece : pieces_) {
      if (piece.decay != decay) continue;
      const std::int64_t offset = piece.offset - part_.begin;
      weights.push_back(weights_.flat().narrow(0, piece.offset, piece.count));
      gradients.push_back(gradient.narrow(0, offset, piece.count));
      first.push_back(state_[0].second.narrow(0, offset, piece.count));
      second.push_back(state_[1].second.narrow(0, offset, piece.count));
      step_of.push_back(steps);
    }
    if (!weights.empty())
      at::_fused_adamw_(weights, gradients, first, second, {}, step_of, lr, kBeta1, kBeta2, decay ? weight_decay_ : 0.0, kEpsilon, false,
                        false);
  }
}

void Optimizer::apply_sgd(const at::Tensor& gradient, double lr) {
  for (const Piece& piece : pieces_) {
    at::Tensor weight = weights_.flat().narrow(0, piece.offset, piece.count);
    if (weight_decay_ > 0 && piece.decay) weight.mul_(1 - lr * weight_decay_);
    weight.sub_(gradient.narrow(0, piece.offset - part_.begin, piece.count), lr);
  }
}

double clip_gradient(at::Tensor& gradient, double max_norm, const Share& share) {
  const at::NoGradGuard no_grad;
  const double norm = share.length(gradient);
  if (max_norm > 0 && norm > max_norm) gradient.mul_(max_norm / norm);
  return norm;
}

}  // namespace metarm
