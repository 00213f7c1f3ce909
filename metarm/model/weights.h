// The tensors of a model in one flat buffer, addressed by what they are for rather than by a family's names. Fused where the forward pass
// wants one product: queries, keys and values in one matrix, gate and up in one.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "metarm/model/spec.h"

namespace metarm {

enum class Slot {
  // of the whole model
  token_embedding,     // [V, D]
  position_embedding,  // [max_positions, D]
  final_norm_weight,
  final_norm_bias,  // [D]
  lm_head,          // [V, D], absent when tied or in a reward model
  score,            // [1, D], the reward head
  score_bias,       // [1], only where a foreign head has one; never trained, so in no storage
  // of each layer
  attention_norm_weight,
  attention_norm_bias,  // [D]
  qkv_weight,           // [(H + 2 G) E, D]: rows are queries by head, keys, values
  qkv_bias,             // [(H + 2 G) E]
  query_norm_weight,
  key_norm_weight,             // [E]
  attention_out_weight,        // [D, H E]
  attention_out_bias,          // [D]
  attention_post_norm_weight,  // [D]
  mlp_norm_weight,
  mlp_norm_bias,  // [D]
  up_weight,      // gated: [2 F, D], gate rows first; plain: [F, D]
  up_bias,
  down_weight,           // [D, F]
  down_bias,             // [D]
  mlp_post_norm_weight,  // [D]
  count_
};
inline constexpr std::size_t kSlotCount = static_cast<std::size_t>(Slot::count_);
bool is_layer_slot(Slot slot);
const char* slot_name(Slot slot);

enum class HeadKind { language_model, reward };

struct TensorInfo {
  std::string name;  // unique; "layers.3.qkv_weight" for model slots
  std::vector<std::int64_t> shape;
  bool decay;  // weight decay applies: matrices, not norms and biases
};

// Named tensors laid end to end in one flat buffer; each tensor is a view of it.
class FlatTensors {
 public:
  FlatTensors() = default;
  FlatTensors(std::vector<TensorInfo> infos, at::ScalarType dtype, at::Device device);  // zeros
  FlatTensors like(at::ScalarType dtype) const;                                         // same names and shapes, zeros

  const at::Tensor& flat() const { return flat_; }  // [total]
  std::size_t size() const { return infos_.size(); }
  const TensorInfo& info(std::size_t i) const { return infos_[i]; }
  const at::Tensor& tensor(std::size_t i) const { return views_[i]; }
  std::int64_t offset(std::size_t i) const { return offsets_[i]; }  // of tensor i in flat()

 private:
  std::vector<TensorInfo> infos_;
  std::vector<std::int64_t> offsets_;
  at::Tensor flat_;
  std::vector<at::Tensor> views_;
};

// Which tensors a model has.
struct SlotInfo {
  Slot slot;
  std::int64_t layer;  // 0 for slots of the whole model
  TensorInfo info;
};
std::vector<SlotInfo> list_slots(const ModelSpec& spec, HeadKind head);

// Tensors by slot and layer. Copies share the tensors.
class Weights {
 public:
  Weights() = default;
  Weights(const ModelSpec& spec, HeadKind head, at::ScalarType dtype, at::Device device);  // zeros
  // The same slots over other tensors of the same shapes, in the order of list_slots (a compute copy, autograd leaves).
  Weights with_tensors(const std::vector<at::Tensor>& tensors) const;

  const FlatTensors& storage() const { return storage_; }
  const std::vector<SlotInfo>& slots() const { return slots_; }
  // Undefined when the model has no such tensor.
  const at::Tensor& at(Slot slot, std::int64_t layer = 0) const;
  void set(Slot slot, std::int64_t layer, at::Tensor tensor);

 private:
  FlatTensors storage_;
  std::vector<SlotInfo> slots_;
  std::vector<std::array<at::Tensor, kSlotCount>> by_layer_;
};

}  // namespace metarm
