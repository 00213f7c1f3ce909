// The direction of the meta step, D(v) for v = ∇J, so that θ' = θ + η D(v).
//
//   absolute     D(v) = v
//   normalized   D(v) = v / ‖v‖
//   adam         D(v) = m̂ / (√ŝ + ε), m and s the running moments with v taken in (betas 0.9 and 0.999, ε 1e-8)
//
// Vectors are float32 [part], each rank's own; all ranks call the members together, since lengths are of whole vectors.
//
// The second-order gradient needs D'(v)ᵀ g, the derivative of ⟨g, D(v)⟩ with respect to v; moments of earlier steps count as constants.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "metarm/meta/align_options.h"
#include "metarm/train/training_setup.h"

namespace metarm {

class MetaDirection {
 public:
  MetaDirection(MetaScale scale, const FlatTensors& weights, const Share& share);

  // D(v) = factor · vector; the vector may be v itself.
  struct Direction {
    at::Tensor vector;
    double factor;
  };
  // Both for v of step `step` from 0. `advance` takes v into the moments: once a step, after the last use of the other two. A v whose
  // squared length is not finite in float32 is left out, on every rank.
  Direction direction(const at::Tensor& v, std::int64_t step) const;
  at::Tensor transposed_derivative(const at::Tensor& v, const at::Tensor& g, std::int64_t step) const;
  void advance(const at::Tensor& v);

  const NamedTensors& state() const { return state_; }

 private:
  struct Moments {
    at::Tensor first, root;  // m̂ and √ŝ + ε
  };
  Moments moments(const at::Tensor& v, std::int64_t step) const;

  MetaScale scale_;
  Share share_;
  NamedTensors state_;
};

}  // namespace metarm
