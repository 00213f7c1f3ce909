// AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101; betas 0.9 and 0.999, epsilon 1e-8) and plain SGD, over flat float32 weights or a part
// of them.
//
// Moments in bfloat16 are rounded stochastically: to nearest, a second moment would stand still, since a step changes it by a thousandth
// and bfloat16 tells apart no less than a 256th. The noise is a function of the step and the element.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/model/weights.h"
#include "metarm/train/share.h"
#include "metarm/train/training_options.h"

namespace metarm {

class Optimizer {
 public:
  // `weights` is moved in place, in `part`, and must outlive this. Weight decay is decoupled in AdamW, added to the gradient in SGD, and
  // concerns tensors with `decay` only.
  Optimizer(OptimizerKind kind, MomentDType moments, const FlatTensors& weights, const Part& part, double weight_decay);

  // One step with the part's gradient, float32 [part]; `step` counts from 0.
  void apply(const at::Tensor& gradient, double lr, std::int64_t step);

  // What a resumed run needs, named; tensors [part] in the moments' type, to be filled in place. Empty for SGD.
  const std::vector<std::pair<std::string, at::Tensor>>& state() const { return state_; }

 private:
  void apply_adamw(const at::Tensor& gradient, double lr, std::int64_t step);
  at::Tensor wide(std::size_t moment, std::int64_t offset, std::int64_t count) const;
  void keep(std::size_t moment, std::int64_t offset, const at::Tensor& value, std::int64_t step);
  void apply_sgd(const at::Tensor& gradient, double lr);

  // What of a tensor lies in the part, at most kPieceElements of it.
  struct Piece {
    std::int64_t offset, count;  // in the flat weights
    bool decay;
  };

  OptimizerKind kind_;
  const FlatTensors& weights_;
  Part part_;
  double weight_decay_;
  std::vector<Piece> pieces_;
  std::vector<std::pair<std::string, at::Tensor>> state_;
};

// Scales the gradient, each rank its own part [part], so that its length is at most `max_norm` (0: any) and returns the length before. All
// ranks call it.
double clip_gradient(at::Tensor& gradient, double max_norm, const Share& share);

}  // namespace metarm
