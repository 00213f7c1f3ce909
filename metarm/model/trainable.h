// What an optimizer moves: float32 master weights θ, and the compute copy that the forward pass reads, in the compute type.
//
// In float32 without a meta step the compute copy is θ itself. In bfloat16, or where the forward pass must run at a shifted θ' = θ + scale
// · direction while θ stays, it is a second buffer. θ' never exists in float32 beyond one element at a time.
//
// Rounding to bfloat16 is to nearest, or stochastic: up with the probability of the part that a cast would drop, so that its expectation is
// exact. The noise is a function of (seed, element), so that casts of θ and of θ' under one seed differ by θ' − θ in expectation, however
// small the step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "metarm/model/weights.h"

namespace metarm {

enum class Rounding { nearest, stochastic };

class Trainable {
 public:
  // `separate_copy`: the compute copy gets a buffer of its own although both are float32.
  Trainable(FlatTensors master, at::ScalarType compute_dtype, bool separate_copy);

  const FlatTensors& master() const { return master_; }
  // Leaves in the compute type that require gradients, but for frozen ones, in the order of master()'s tensors.
  const std::vector<at::Tensor>& leaves() const { return leaves_; }

  // Leaf i stays: it asks for no gradient.
  void freeze(std::size_t i) { leaves_[i].requires_grad_(false); }

  // Compute copy = cast(θ).
  void load_compute(Rounding rounding = Rounding::nearest, std::uint64_t seed = 0);
  // A compute copy that is cast(θ) by the same rounding and seed becomes cast(θ + scale · direction), direction float32 [total]. Needs a
  // copy of its own. Returns the kept share
  // ⟨cast(θ') − cast(θ), θ' − θ⟩ / ‖θ' − θ‖² (1 in float32 up to rounding; 0 for a zero step).
  double shift_compute(const at::Tensor& direction, double scale, Rounding rounding, std::uint64_t seed);

  // Adds the gradient of leaf i, if it has one, to its part of `gradient`, float32 [total], and clears it.
  void move_gradient_to(at::Tensor& gradient, std::size_t i);

 private:
  FlatTensors master_;
  FlatTensors copy_;  // no tensors when the leaves view the master
  std::vector<at::Tensor> leaves_;
};

// dst[i] = cast(source[i] + scale * direction[i]) for flat float32 source (direction may be undefined) into a flat float32 or bfloat16 dst.
void cast_weights(at::Tensor& dst, const at::Tensor& source, const at::Tensor& direction, double scale, Rounding rounding,
                  std::uint64_t seed);

}  // namespace metarm
