// What happens to a hidden state before a linear layer reads it: a norm, or the MLP's activation. Cheap enough to compute again in the
// backward pass, so that only its input is kept.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "metarm/model/spec.h"

namespace metarm {

enum class TransformKind {
  none,
  rms_norm,    // x / sqrt(mean(x²) + epsilon) · scale, or · (1 + scale)
  layer_norm,  // (x − mean) / sqrt(var + epsilon) · scale + shift
  activation,  // act(x); gated: act(first half) · second half
};

struct InputTransform {
  TransformKind kind = TransformKind::none;
  Activation activation = Activation::silu;
  bool gated = false, add_one = false;
  double epsilon = 0;
  at::Tensor scale, shift;  // [D], of norms
};

InputTransform norm_transform(const ModelSpec& spec, const at::Tensor& scale, const at::Tensor& shift);
InputTransform rms_transform(const ModelSpec& spec, const at::Tensor& scale);
InputTransform activation_transform(const ModelSpec& spec);

// Of rows x [N, width], by torch's own operations: on any device, differentiable as often as wished.
at::Tensor transform_plainly(const InputTransform& transform, const at::Tensor& x);

}  // namespace metarm
