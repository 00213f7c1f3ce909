// Linear layers on the CPU that keep their input alone: the transform before the product (input_transform.h) is computed again in the
// backward pass, by fused kernels.
#pragma once

#include <ATen/core/Tensor.h>

#include "metarm/model/input_transform.h"

namespace metarm {

// transform(x) Wᵀ + bias for rows x [N, in], weight [out, in], bias [out] or undefined -> [N, out], with first derivatives. All in one
// type, float32 or bfloat16, on the CPU.
at::Tensor fused_linear(const InputTransform& transform, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);
// transform(x) alone.
at::Tensor fused_transform(const InputTransform& transform, const at::Tensor& x);

}  // namespace metarm
