#include "metarm/model/weights.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "metarm/base/error.h"

namespace metarm {

bool is_layer_slot(Slot slot) { return slot >= Slot::attention_norm_weight; }

const char* slot_name(Slot slot) {
  static constexpr const char* kNames[] = {"token_embedding",
                                           "position_embedding",
                                           "final_norm_weight",
                                           "final_norm_bias",
                                           "lm_head",
                                           "score",
                                           "score_bias",
                                           "attention_norm_weight",
                                           "attention_norm_bias",
                                           "qkv_weight",
                                           "qkv_bias",
                                           "query_norm_weight",
                                           "key_norm_weight",
                                           "attention_out_weight",
                                           "attention_out_bias",
                                           "attention_post_norm_weight",
                                           "mlp_norm_weight",
                                           "mlp_norm_bias",
                                           "up_weight",
                                           "up_bias",
                                           "down_weight",
                                           "down_bias",
                                           "mlp_post_norm_weight"};
  static_assert(std::size(kNames) == kSlotCount);
  return kNames[static_cast<std::size_t>(slot)];
}

FlatTensors::FlatTensors(std::vector<TensorInfo> infos, at::ScalarType dtype, at::Device device) : infos_(std::move(infos)) {
  std::int64_t total = 0;
  for (const TensorInfo& info : infos_) {
    offsets_.push_back(total);
    std::int64_t size = 1;
    for (std::int64_t extent : info.shape) size *= extent;
    total += size;
  }
  flat_ = at::zeros({total}, at::TensorOptions().dtype(dtype).device(device));
  for (std::size_t i = 0; i < infos_.size(); ++i) {
    const std::int64_t end = i + 1 < infos_.size() ? offsets_[i + 1] : total;
    views_.push_back(flat_.slice(0, offsets_[i], end).view(infos_[i].shape));
  }
}

FlatTensors FlatTensors::like(at::ScalarType dtype) const { return FlatTensors(infos_, dtype, flat_.device()); }

namespace {

class SlotList {
 public:
  void model(Slot slot, std::vector<std::int64_t> shape) { add(slot, 0, slot_name(slot), std::move(shape)); }
  void layer(Slot slot, std::int64_t index, std::vector<std::int64_t> shape) {
    add(slot, index, fmt::format("layers.{}.{}", index, slot_name(slot)), std::move(shape));
  }
  std::vector<SlotInfo> take() { return std::move(slots_); }

 private:
  void add(Slot slot, std::int64_t index, std::string name, std::vector<std::int64_t> shape) {
    const bool decay = shape.size() > 1;
    slots_.push_back({slot, index, {std::move(name), std::move(shape), decay}});
  }
  std::vector<SlotInfo> slots_;
};

void list_layer(SlotList& list, const ModelSpec& spec, std::int64_t i) {
  const std::int64_t D = spec.width, F = spec.mlp_width, up = spec.mlp == MlpKind::gated ? 2 * F : F;
  const bool norm_bias = spec.norm == NormKind::layer;
  list.layer(Slot::attention_norm_weight, i, {D});
  if (norm_bias) list.layer(Slot::attention_norm_bias, i, {D});
  list.layer(Slot::qkv_weight, i, {spec.qkv_width(), D});
  if (spec.qkv_bias) list.layer(Slot::qkv_bias, i, {spec.qkv_width()});
  if (spec.query_key_norm) {
    list.layer(Slot::query_norm_weight, i, {spec.head_width});
    list.layer(Slot::key_norm_weight, i, {spec.head_width});
  }
  list.layer(Slot::attention_out_weight, i, {D, spec.heads * spec.head_width});
  if (spec.attention_out_bias) list.layer(Slot::attention_out_bias, i, {D});
  if (spec.norm_place == NormPlace::before_and_after) list.layer(Slot::attention_post_norm_weight, i, {D});
  list.layer(Slot::mlp_norm_weight, i, {D});
  if (norm_bias) list.layer(Slot::mlp_norm_bias, i, {D});
  list.layer(Slot::up_weight, i, {up, D});
  if (spec.mlp_bias) list.layer(Slot::up_bias, i, {up});
  list.layer(Slot::down_weight, i, {D, F});
  if (spec.mlp_bias) list.layer(Slot::down_bias, i, {D});
  if (spec.norm_place == NormPlace::before_and_after) list.layer(Slot::mlp_post_norm_weight, i, {D});
}

}  // namespace

std::vector<SlotInfo> list_slots(const ModelSpec& spec, HeadKind head) {
  SlotList list;
  list.model(Slot::token_embedding, {spec.vocab_size, spec.width});
  if (spec.positions == PositionKind::learned) list.model(Slot::position_embedding, {spec.max_positions, spec.width});
  for (std::int64_t i = 0; i < spec.layers; ++i) list_layer(list, spec, i);
  list.model(Slot::final_norm_weight, {spec.width});
  if (spec.norm == NormKind::layer) list.model(Slot::final_norm_bias, {spec.width});
  if (head == HeadKind::language_model && !spec.tied_embeddings) list.model(Slot::lm_head, {spec.vocab_size, spec.width});
  if (head == HeadKind::reward) list.model(Slot::score, {1, spec.width});
  return list.take();
}

Weights::Weights(const ModelSpec& spec, HeadKind head, at::ScalarType dtype, at::Device device)
    : slots_(list_slots(spec, head)), by_layer_(static_cast<std::size_t>(spec.layers)) {
  std::vector<TensorInfo> infos;
  for (const SlotInfo& slot : slots_) infos.push_back(slot.info);
  storage_ = FlatTensors(std::move(infos), dtype, device);
  for (std::size_t i = 0; i < slots_.size(); ++i) set(slots_[i].slot, slots_[i].layer, storage_.tensor(i));
}

Weights Weights::with_tensors(const std::vector<at::Tensor>& tensors) const {
  if (tensors.size() != slots_.size()) fail_internal("Weights: expected {} tensors, got {}", slots_.size(), tensors.size());
  Weights other = *this;
  other.storage_ = {};
  for (std::size_t i = 0; i < slots_.size(); ++i) other.set(slots_[i].slot, slots_[i].layer, tensors[i]);
  return other;
}

const at::Tensor& Weights::at(Slot slot, std::int64_t layer) const {
  return by_layer_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(slot)];
}

void Weights::set(Slot slot, std::int64_t layer, at::Tensor tensor) {
  by_layer_[static_cast<std::size_t>(layer)][static_cast<std::size_t>(slot)] = std::move(tensor);
}

}  // namespace metarm
