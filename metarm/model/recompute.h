// Gradient checkpointing: a function whose inner values are not kept for the backward pass but computed again there.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace metarm {

// function(input), keeping only `input`. The function must give the same result each time; tensors that it captures (weights) receive their
// gradients as accumulations into leaves. First derivatives only.
at::Tensor recompute(const std::function<at::Tensor(const at::Tensor&)>& function, const at::Tensor& input);

}  // namespace metarm
