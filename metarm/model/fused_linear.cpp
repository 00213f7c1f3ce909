#include "metarm/model/fused_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/model/cpu_kernels.h"
#include "metarm/model/matrix_product.h"

namespace metarm {

namespace {

constexpr std::int64_t kRowGrain = 16;   // rows a thread takes at least
constexpr std::int64_t kPieceRows = 64;  // rows whose share of a norm's gradient is summed together, whatever the threads

// Calls `work` with a null pointer of the element type that kernels know `x` by.
template <class Work>
void with_element(const at::Tensor& x, const Work& work) {
  if (x.scalar_type() == at::kFloat)
    work(static_cast<float*>(nullptr));
  else if (x.scalar_type() == at::kBFloat16)
    work(static_cast<Bfloat16Bits*>(nullptr));
  else
    fail_internal("fused_linear: expected float32 or bfloat16, got {}", c10::toString(x.scalar_type()));
}
template <class Element>
const Element* read(const at::Tensor& x) {
  return static_cast<const Element*>(x.const_data_ptr());
}
template <class Element>
Element* write(const at::Tensor& x) {
  return static_cast<Element*>(x.mutable_data_ptr());
}

struct TransformGradients {
  at::Tensor x, scale, shift;
};

at::Tensor rms_norm(const InputTransform& transform, const at::Tensor& x, at::Tensor& inverse_root) {
  at::Tensor out = at::empty_like(x);
  const std::int64_t width = x.size(1);
  inverse_root = at::empty({x.size(0)}, x.options().dtype(at::kFloat));
  with_element(x, [&]<class Element>(Element*) {
    at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t from, std::int64_t to) {
      cpu_kernels_of<Element>().rms_norm(read<Element>(x) + from * width, read<Element>(transform.scale), transform.add_one,
                                         static_cast<float>(transform.epsilon), to - from, width, write<Element>(out) + from * width,
                                         inverse_root.mutable_data_ptr<float>() + from);
    });
  });
  return out;
}

TransformGradients rms_norm_backward(const InputTransform& transform, const at::Tensor& x, const at::Tensor& inverse_root,
                                     const at::Tensor& grad) {
  at::Tensor grad_x = at::empty_like(x);
  const std::int64_t rows = x.size(0), width = x.size(1), pieces = (rows + kPieceRows - 1) / kPieceRows;
  at::Tensor grad_scale = at::zeros({pieces, width}, x.options().dtype(at::kFloat));
  with_element(x, [&]<class Element>(Element*) {
    at::parallel_for(0, pieces, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t piece = first; piece < last; ++piece) {
        const std::int64_t from = piece * kPieceRows, count = std::min(kPieceRows, rows - from);
        cpu_kernels_of<Element>().rms_norm_backward(
            read<Element>(grad) + from * width, read<Element>(x) + from * width, read<Element>(transform.scale), transform.add_one,
            inverse_root.const_data_ptr<float>() + from, count, width, write<Element>(grad_x) + from * width,
            grad_scale.mutable_data_ptr<float>() + piece * width);
      }
    });
  });
  return {grad_x, grad_scale.sum(0).to(x.scalar_type()), {}};
}

at::Tensor silu_gate(const at::Tensor& x) {
  const std::int64_t half = x.size(1) / 2;
  at::Tensor out = at::empty({x.size(0), half}, x.options());
  with_element(x, [&]<class Element>(Element*) {
    at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t from, std::int64_t to) {
      cpu_kernels_of<Element>().silu_gate(read<Element>(x) + from * 2 * half, to - from, half, write<Element>(out) + from * half);
    });
  });
  return out;
}

at::Tensor silu_gate_backward(const at::Tensor& x, const at::Tensor& grad) {
  const std::int64_t half = x.size(1) / 2;
  at::Tensor grad_x = at::empty_like(x);
  with_element(x, [&]<class Element>(Element*) {
    at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t from, std::int64_t to) {
      cpu_kernels_of<Element>().silu_gate_backward(read<Element>(grad) + from * half, read<Element>(x) + from * 2 * half, to - from, half,
                                                   write<Element>(grad_x) + from * 2 * half);
    });
  });
  return grad_x;
}

at::Tensor activation_backward(Activation activation, const at::Tensor& x, const at::Tensor& grad) {
  if (activation == Activation::silu) return at::silu_backward(grad, x);
  return at::gelu_backward(grad, x, activation == Activation::gelu_tanh ? "tanh" : "none");
}

bool is_silu_gate(const InputTransform& transform) { return transform.gated && transform.activation == Activation::silu; }

// What a transform computes besides its output and needs for its gradient.
struct Transformed {
  at::Tensor out, first, second;
};

Transformed apply_transform(const InputTransform& transform, const at::Tensor& x) {
  Transformed made;
  switch (transform.kind) {
    case TransformKind::rms_norm: made.out = rms_norm(transform, x, made.first); return made;
    case TransformKind::layer_norm:
      std::tie(made.out, made.first, made.second) =
          at::native_layer_norm(x, {x.size(1)}, transform.scale, transform.shift, transform.epsilon);
      return made;
    case TransformKind::activation: made.out = is_silu_gate(transform) ? silu_gate(x) : transform_plainly(transform, x); return made;
    case TransformKind::none: made.out = x; return made;
  }
  fail_internal("unknown transform");
}

TransformGradients transform_backward(const InputTransform& transform, const at::Tensor& x, const Transformed& made,
                                      const at::Tensor& grad) {
  switch (transform.kind) {
    case TransformKind::none: return {grad, {}, {}};
    case TransformKind::rms_norm: return rms_norm_backward(transform, x, made.first, grad);
    case TransformKind::layer_norm: {
      auto [grad_x, grad_scale, grad_shift] = at::native_layer_norm_backward(grad, x, {x.size(1)}, made.first, made.second, transform.scale,
                                                                             transform.shift, {true, true, transform.shift.defined()});
      return {grad_x, grad_scale, grad_shift};
    }
    case TransformKind::activation: {
      if (is_silu_gate(transform)) return {silu_gate_backward(x, grad), {}, {}};
      if (!transform.gated) return {activation_backward(transform.activation, x, grad), {}, {}};
      const std::int64_t half = x.size(1) / 2;
      const at::Tensor gate = x.slice(1, 0, half), up = x.slice(1, half);
      InputTransform plain = transform;
      plain.gated = false;
      return {at::cat({activation_backward(transform.activation, gate, grad * up), grad * transform_plainly(plain, gate)}, 1), {}, {}};
    }
  }
  fail_internal("unknown transform");
}

struct TransformHolder : torch::CustomClassHolder {
  explicit TransformHolder(InputTransform held) : transform(std::move(held)) {}
  InputTransform transform;  // without its tensors, which autograd keeps
};

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Autograd takes an absent tensor as an empty optional only.
using MaybeTensor = std::optional<at::Tensor>;
MaybeTensor maybe(const at::Tensor& x) { return x.defined() ? MaybeTensor(x) : std::nullopt; }

// Inputs x, scale, shift, weight, bias; without a weight the transform alone.
struct FusedLinear : torch::autograd::Function<FusedLinear> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const MaybeTensor& scale, const MaybeTensor& shift,
                            const MaybeTensor& weight, const MaybeTensor& bias, const InputTransform& transform) {
    InputTransform kept = transform;
    kept.scale.reset();
    kept.shift.reset();
    context->save_for_backward({x, scale.value_or(at::Tensor()), shift.value_or(at::Tensor()), weight.value_or(at::Tensor())});
    context->saved_data["transform"] = c10::IValue::make_capsule(c10::make_intrusive<TransformHolder>(std::move(kept)));
    context->saved_data["bias"] = bias && bias->requires_grad();
    const at::Tensor input = apply_transform(transform, x).out;
    if (!weight) return input;
    at::Tensor out = product(input, weight->t(), x.scalar_type());
    return bias ? out.add_(*bias) : out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[3];
    InputTransform transform = c10::static_intrusive_pointer_cast<TransformHolder>(context->saved_data["transform"].toCapsule())->transform;
    transform.scale = saved[1], transform.shift = saved[2];
    const Transformed made = apply_transform(transform, x);
    at::Tensor grad = gradients[0].contiguous(), grad_weight, grad_bias;
    if (weight.defined()) {
      const at::Tensor factor = product_factor(grad);
      if (weight.requires_grad()) grad_weight = product(factor.t(), made.out, x.scalar_type());
      if (context->saved_data["bias"].toBool()) grad_bias = grad.sum(0);
      grad = x.requires_grad() || (transform.scale.defined() && transform.scale.requires_grad()) ? product(factor, weight, x.scalar_type())
                                                                                                 : at::Tensor();
    }
    if (!grad.defined()) return {grad, at::Tensor(), at::Tensor(), grad_weight, grad_bias, at::Tensor()};
    const TransformGradients of_transform = transform_backward(transform, x, made, grad);
    return {of_transform.x, of_transform.scale, of_transform.shift, grad_weight, grad_bias, at::Tensor()};
  }
};

}  // namespace

at::Tensor fused_linear(const InputTransform& transform, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  return FusedLinear::apply(x.contiguous(), maybe(transform.scale), maybe(transform.shift), maybe(weight), maybe(bias), transform);
}

at::Tensor fused_transform(const InputTransform& transform, const at::Tensor& x) { return fused_linear(transform, x, {}, {}); }

}  // namespace metarm
