// Between a slot's rows and the Hugging Face tensor that holds them.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "metarm/model/families.h"

namespace metarm {

// The shape that `name` has in a checkpoint, given that of its slot's tensor.
std::vector<std::int64_t> checkpoint_shape(const TensorName& name, std::vector<std::int64_t> slot_shape);

// Copies a checkpoint tensor of that shape (any float type) into its rows of the slot's tensor, and back: a contiguous tensor of the
// checkpoint's shape, in the slot's type.
void copy_from_checkpoint(const ModelSpec& spec, const TensorName& name, const at::Tensor& source, const at::Tensor& slot_tensor);
at::Tensor copy_to_checkpoint(const ModelSpec& spec, const TensorName& name, const at::Tensor& slot_tensor);

}  // namespace metarm
