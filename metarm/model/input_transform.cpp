#include "metarm/model/input_transform.h"

#include <ATen/ATen.h>

#include "metarm/base/error.h"

namespace metarm {

namespace {

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::silu: return at::silu(x);
    case Activation::gelu: return at::gelu(x);
    case Activation::gelu_tanh: return at::gelu(x, "tanh");
  }
  fail_internal("unknown activation");
}

at::Tensor rms_norm(const InputTransform& transform, const at::Tensor& x) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor unit = wide * at::rsqrt(wide.square().mean(-1, true) + transform.epsilon);
  if (transform.add_one) return (unit * (transform.scale.to(at::kFloat) + 1.0)).to(x.scalar_type());
  return unit.to(x.scalar_type()) * transform.scale;
}

}  // namespace

InputTransform norm_transform(const ModelSpec& spec, const at::Tensor& scale, const at::Tensor& shift) {
  if (spec.norm == NormKind::rms) return rms_transform(spec, scale);
  return {.kind = TransformKind::layer_norm, .epsilon = spec.norm_epsilon, .scale = scale, .shift = shift};
}

InputTransform rms_transform(const ModelSpec& spec, const at::Tensor& scale) {
  return {.kind = TransformKind::rms_norm, .add_one = spec.norm_adds_one, .epsilon = spec.norm_epsilon, .scale = scale, .shift = {}};
}

InputTransform activation_transform(const ModelSpec& spec) {
  return {.kind = TransformKind::activation, .activation = spec.activation, .gated = spec.mlp == MlpKind::gated, .scale = {}, .shift = {}};
}

at::Tensor transform_plainly(const InputTransform& transform, const at::Tensor& x) {
  switch (transform.kind) {
    case TransformKind::none: return x;
    case TransformKind::rms_norm: return rms_norm(transform, x);
    case TransformKind::layer_norm: return at::layer_norm(x, {x.size(-1)}, transform.scale, transform.shift, transform.epsilon);
    case TransformKind::activation: {
      if (!transform.gated) return activate(transform.activation, x);
      const std::int64_t half = x.size(-1) / 2;
      return activate(transform.activation, x.slice(-1, 0, half)) * x.slice(-1, half);
    }
  }
  fail_internal("unknown transform");
}

}  // namespace metarm
