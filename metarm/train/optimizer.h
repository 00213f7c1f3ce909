// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101; betas 0.9 and 0.999, epsilon 1e-8) and plain SGD, over flat float32 weights or a part
// of them. A pull to the starting weights (L2-SP, Li et al. 2018, arXiv 1802.01483) is decoupled, as weight decay is.
//
// Moments in bfloat16 are rounded stochastically: to nearest, a second moment would stand still, since a step changes it by a thousandth
// and bfloat16 tells apart no less than a 256th. The noise is a function of the step and the element.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "metarm/model/weights.h"
#include "metarm/train/share.h"
#include "metarm/train/training_options.h"

namespace metarm {

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::adamw;
  MomentDType moments = MomentDType::float32;
  double weight_decay = 0;         // w -= lr weight_decay w, of tensors with `decay` only, before the step
  double l2_sp = 0;                // w -= lr l2_sp (w - w0), of all tensors, after the step; w0: what they are when the optimizer is made
  std::vector<double> rates = {};  // of each tensor, the part of the learning rate that it gets; 0: it stays. Empty: 1 for all
  // Of each tensor, the step (from 0) that first moves it, which is the first one to its moments. Empty: 0 for all.
  std::vector<std::int64_t> first_steps = {};
};

class Optimizer {
 public:
  // `weights` is moved in place, in `part`, and must outlive this.
  Optimizer(OptimizerSettings settings, const FlatTensors& weights, const Part& part);

  // One step with the part's gradient, float32 [part]; `step` counts from 0.
  void apply(const at::Tensor& gradient, double lr, std::int64_t step);

  // What a resumed run needs, named; tensors [part] in the moments' type, to be filled in place. Empty for SGD.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }

 private:
  void apply_adamw(const at::Tensor& gradient, double lr, std::int64_t step);
  void pull_to_start(double lr, std::int64_t step);
  at::Tensor wide(std::size_t moment, std::int64_t offset, std::int64_t count) const;
  void keep(std::size_t moment, std::int64_t offset, const at::Tensor& value, std::int64_t step);
  void apply_sgd(const at::Tensor& gradient, double lr, std::int64_t step);

  // What of a tensor lies in the part, at most kPieceElements of it.
  struct Piece {
    std::int64_t offset, count;  // in the flat weights
    bool decay;
    double rate;
    std::int64_t first_step;
  };
  std::span<const Piece> moved_at(std::int64_t step) const;

  const OptimizerSettings settings_;
  const FlatTensors& weights_;
  Part part_;
  at::Tensor start_;           // w0 [part], where there is a pull to it
  std::vector<Piece> pieces_;  // by their first step
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

// Scales the gradient, each rank its own part [part], so that its length is at most `max_norm` (0: any) and returns the length before. All
// ranks call it.
double clip_gradient(at::Tensor& gradient, double max_norm, const Share& share);

}  // namespace metarm
