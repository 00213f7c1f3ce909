#include "metarm/model/packed_weights.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "metarm/base/round_up.h"
#include "metarm/model/cpu_kernels.h"

namespace metarm {

namespace {

bool is_packed(Slot slot) {
  return slot == Slot::qkv_weight || slot == Slot::attention_out_weight || slot == Slot::up_weight || slot == Slot::down_weight ||
         slot == Slot::lm_head;
}

// [rows, columns] with zeros at both ends, up to multiples.
at::Tensor padded(const at::Tensor& x, std::int64_t rows, std::int64_t columns) {
  const std::int64_t more_rows = round_up(x.size(0), rows) - x.size(0), more_columns = round_up(x.size(1), columns) - x.size(1);
  return more_rows + more_columns > 0 ? at::constant_pad_nd(x, {0, more_columns, 0, more_rows}) : x;
}

// [out, in] -> [panels, in, columns], with zeros for outputs beyond the last.
at::Tensor in_panels(const at::Tensor& weight) {
  const std::int64_t columns = cpu_kernels().panel_columns;
  return padded(weight, columns, 1).reshape({-1, columns, weight.size(1)}).transpose(1, 2).contiguous();
}

// [out, in] -> [panels, in / 2, columns, 2], with zeros beyond both.
at::Tensor in_pairs(const at::Tensor& weight) {
  const at::Tensor all = padded(weight, kPairColumns, kPairDepth);
  return all.reshape({-1, kPairColumns, all.size(1) / 2, 2}).transpose(1, 2).contiguous();
}

}  // namespace

bool has_pairs() { return cpu_kernels().multiply_pairs != nullptr; }

PackedMatrix::PackedMatrix(const at::Tensor& weight, PackedType type) : out_(weight.size(0)) {
  if (type == PackedType::bfloat16_pairs) {
    panels_ = in_pairs(weight.to(at::kBFloat16));
    return;
  }
  if (type != PackedType::int8) {
    panels_ = in_panels(weight.to(type == PackedType::bfloat16 ? at::kBFloat16 : at::kFloat));
    return;
  }
  const at::Tensor wide = weight.to(at::kFloat);
  const at::Tensor scale = wide.abs().amax(1, true).div_(127).clamp_min_(1e-30);  // [out, 1]
  panels_ = in_panels(at::round(wide / scale).to(at::kChar));
  scale_ = in_panels(scale).squeeze(1);
}

at::Tensor PackedMatrix::product(const at::Tensor& x, at::ScalarType type) const {
  const at::Tensor y = panels_.dim() == 4 ? pair_products(x) : panel_products(x);
  return y.narrow(0, 0, x.size(0)).narrow(1, 0, out_).to(type).contiguous();
}

at::Tensor PackedMatrix::pair_products(const at::Tensor& x) const {
  const at::Tensor rows = padded(x.to(at::kBFloat16), kPairRows, kPairDepth).contiguous();
  const std::int64_t panels = panels_.size(0), depth = rows.size(1), words = kPairColumns * depth / 2;
  at::Tensor out = at::empty({rows.size(0), panels * kPairColumns}, rows.options().dtype(at::kFloat));
  const auto* x_data = static_cast<const Bfloat16Bits*>(rows.const_data_ptr());
  const auto* data = static_cast<const std::uint32_t*>(panels_.const_data_ptr());
  float* const to_data = out.mutable_data_ptr<float>();
  at::parallel_for(0, panels, 1, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i)
      cpu_kernels().multiply_pairs({rows.size(0), depth, x_data, to_data + i * kPairColumns, out.size(1)}, data + i * words);
  });
  return out;
}

at::Tensor PackedMatrix::panel_products(const at::Tensor& x) const {
  const at::Tensor rows = x.to(at::kFloat).contiguous();
  const std::int64_t panels = panels_.size(0), depth = panels_.size(1), columns = panels_.size(2);
  at::Tensor out = at::empty({rows.size(0), panels * columns}, rows.options());
  const float* scale = scale_.defined() ? scale_.const_data_ptr<float>() : nullptr;
  const auto* data = static_cast<const std::byte*>(panels_.const_data_ptr());
  const std::int64_t panel_bytes = depth * columns * static_cast<std::int64_t>(panels_.element_size());
  const CpuKernels& kernels = cpu_kernels();
  at::parallel_for(0, panels, 1, [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) {
      const PanelTask task{rows.size(0), depth, rows.const_data_ptr<float>(), depth, out.mutable_data_ptr<float>() + i * columns,
                           out.size(1)};
      const std::byte* panel = data + i * panel_bytes;
      if (panels_.scalar_type() == at::kFloat)
        kernels.multiply_float32_panel(task, reinterpret_cast<const float*>(panel), nullptr);
      else if (panels_.scalar_type() == at::kBFloat16)
        kernels.multiply_bfloat16_panel(task, reinterpret_cast<const Bfloat16Bits*>(panel), nullptr);
      else
        kernels.multiply_int8_panel(task, reinterpret_cast<const std::int8_t*>(panel), scale + i * columns);
    }
  });
  return out;
}

PackedWeights::PackedWeights(Weights& weights, bool tied_embeddings, PackedType type) {
  std::vector<at::Tensor> left;
  for (const SlotInfo& info : weights.slots()) {
    const at::Tensor& weight = weights.at(info.slot, info.layer);
    if (is_packed(info.slot))
      matrices_.try_emplace({info.slot, info.layer}, weight, type);
    else if (tied_embeddings && info.slot == Slot::token_embedding)
      matrices_.try_emplace({Slot::lm_head, 0}, weight, type);
    left.push_back(is_packed(info.slot) ? at::Tensor() : weight.clone());
  }
  weights = weights.with_tensors(left);
}

}  // namespace metarm
