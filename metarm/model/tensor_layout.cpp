#include "metarm/model/tensor_layout.h"

#include <ATen/ATen.h>

namespace metarm {

namespace {

at::Tensor rows_of(const TensorName& name, const at::Tensor& slot_tensor) { return slot_tensor.slice(0, name.row_begin, name.row_end); }

// [3, H, E, ...] <-> [H, 3, E, ...]: GPT-NeoX keeps each head's query, key and value together.
at::Tensor swap_heads(const at::Tensor& rows, std::int64_t outer, std::int64_t inner, std::int64_t head_width) {
  std::vector<std::int64_t> shape = {outer, inner, head_width};
  for (std::int64_t i = 1; i < rows.dim(); ++i) shape.push_back(rows.size(i));
  return rows.reshape(shape).transpose(0, 1).reshape(rows.sizes());
}

}  // namespace

std::vector<std::int64_t> checkpoint_shape(const TensorName& name, std::vector<std::int64_t> slot_shape) {
  slot_shape[0] = name.row_end - name.row_begin;
  if (name.layout == Layout::transposed) std::swap(slot_shape[0], slot_shape[1]);
  return slot_shape;
}

void copy_from_checkpoint(const ModelSpec& spec, const TensorName& name, const at::Tensor& source, const at::Tensor& slot_tensor) {
  const at::Tensor rows = rows_of(name, slot_tensor);
  switch (name.layout) {
    case Layout::same: rows.copy_(source); break;
    case Layout::transposed: rows.copy_(source.t()); break;
    case Layout::interleaved_heads: rows.copy_(swap_heads(source, spec.heads, 3, spec.head_width)); break;
  }
}

at::Tensor copy_to_checkpoint(const ModelSpec& spec, const TensorName& name, const at::Tensor& slot_tensor) {
  const at::Tensor rows = rows_of(name, slot_tensor).detach();
  switch (name.layout) {
    case Layout::same: return rows.contiguous();
    case Layout::transposed: return rows.t().contiguous();
    case Layout::interleaved_heads: return swap_heads(rows, 3, spec.heads, spec.head_width).contiguous();
  }
  return rows;
}

}  // namespace metarm
