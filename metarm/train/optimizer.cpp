#include "metarm/train/optimizer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "metarm/base/random.h"
#include "metarm/model/trainable.h"

namespace metarm {

namespace {

constexpr std::int64_t kPieceElements = std::int64_t{1} << 24;  // whose moments are held in float32 at once
constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

}  // namespace

Optimizer::Optimizer(OptimizerSettings settings, const FlatTensors& weights, const Part& part)
    : settings_(std::move(settings)), weights_(weights), part_(part) {
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double rate = settings_.rates.empty() ? 1 : settings_.rates[i];
    if (rate == 0) continue;
    const std::int64_t end = std::min(weights.offset(i) + weights.tensor(i).numel(), part.end);
    for (std::int64_t begin = std::max(weights.offset(i), part.begin); begin < end; begin += kPieceElements)
      pieces_.push_back({begin, std::min(kPieceElements, end - begin), weights.info(i).decay, rate,
                         settings_.first_steps.empty() ? 0 : settings_.first_steps[i]});
  }
  std::ranges::stable_sort(pieces_, {}, &Piece::first_step);
  if (settings_.l2_sp > 0) start_ = weights.flat().slice(0, part.begin, part.end).clone();
  const auto options = weights.flat().options().dtype(settings_.moments == MomentDType::bfloat16 ? at::kBFloat16 : at::kFloat);
  if (settings_.kind == OptimizerKind::adamw)
    for (const char* name : {"adamw.first_moment", "adamw.second_moment"}) state_.emplace_back(name, at::zeros({part.size()}, options));
}

std::span<const Optimizer::Piece> Optimizer::moved_at(std::int64_t step) const {
  return {pieces_.begin(), std::ranges::upper_bound(pieces_, step, {}, &Piece::first_step)};
}

void Optimizer::apply(const at::Tensor& gradient, double lr, std::int64_t step) {
  const at::NoGradGuard no_grad;
  if (settings_.kind == OptimizerKind::adamw)
    apply_adamw(gradient, lr, step);
  else
    apply_sgd(gradient, lr, step);
  if (start_.defined()) pull_to_start(lr, step);
}

void Optimizer::pull_to_start(double lr, std::int64_t step) {
  for (const Piece& piece : moved_at(step)) {
    at::Tensor weight = weights_.flat().narrow(0, piece.offset, piece.count);
    weight.lerp_(start_.narrow(0, piece.offset - part_.begin, piece.count), lr * piece.rate * settings_.l2_sp);
  }
}

void Optimizer::apply_adamw(const at::Tensor& gradient, double lr, std::int64_t step) {
  at::Tensor steps;  // since the first one of the pieces, which are in its order
  std::int64_t first_step = -1;
  for (const Piece& piece : moved_at(step)) {
    if (piece.first_step != std::exchange(first_step, piece.first_step))
      steps = at::full({}, static_cast<double>(step - first_step + 1), weights_.flat().options());
    const std::int64_t offset = piece.offset - part_.begin;
    std::vector<at::Tensor> weights = {weights_.flat().narrow(0, piece.offset, piece.count)};
    std::vector<at::Tensor> first = {wide(0, offset, piece.count)}, second = {wide(1, offset, piece.count)};
    at::_fused_adamw_(weights, {gradient.narrow(0, offset, piece.count)}, first, second, {}, {steps}, lr * piece.rate, kBeta1, kBeta2,
                      piece.decay ? settings_.weight_decay : 0.0, kEpsilon, false, false);
    keep(0, offset, first[0], step);
    keep(1, offset, second[0], step);
  }
}

// A part of a moment in float32: itself, or a copy that keep() rounds back.
at::Tensor Optimizer::wide(std::size_t moment, std::int64_t offset, std::int64_t count) const {
  return state_[moment].second.narrow(0, offset, count).to(at::kFloat);
}

void Optimizer::keep(std::size_t moment, std::int64_t offset, const at::Tensor& value, std::int64_t step) {
  at::Tensor kept = state_[moment].second.narrow(0, offset, value.numel());
  if (kept.scalar_type() == at::kFloat) return;
  const std::uint64_t of_step = derive_seed(moment, "moments", static_cast<std::uint64_t>(step));
  cast_weights(kept, value, {}, 0, Rounding::stochastic, derive_seed(of_step, "piece", static_cast<std::uint64_t>(part_.begin + offset)));
}

void Optimizer::apply_sgd(const at::Tensor& gradient, double lr, std::int64_t step) {
  for (const Piece& piece : moved_at(step)) {
    at::Tensor weight = weights_.flat().narrow(0, piece.offset, piece.count);
    if (piece.decay) weight.mul_(1 - lr * piece.rate * settings_.weight_decay);
    weight.sub_(gradient.narrow(0, piece.offset - part_.begin, piece.count), lr * piece.rate);
  }
}

double clip_gradient(at::Tensor& gradient, double max_norm, const Share& share) {
  const at::NoGradGuard no_grad;
  const double norm = share.length(gradient);
  if (max_norm > 0 && norm > max_norm) gradient.mul_(max_norm / norm);
  return norm;
}

}  // namespace metarm
