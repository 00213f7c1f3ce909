// The supported families as data: a Hugging Face config.json to a ModelSpec, and Hugging Face tensor names to slots.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/model/spec.h"
#include "metarm/model/weights.h"

namespace metarm {

// From config.json's model_type and fields. Input error `where: ...` for an unsupported family or option, listing what is supported.
ModelSpec parse_model_spec(const Json& config, const std::string& where);

struct FamilyNames {
  Family family;
  const char* model_type;           // config.json's
  const char* causal_architecture;  // LlamaForCausalLM
  const char* reward_architecture;  // LlamaForSequenceClassification
  const char* prefix;               // of the backbone's tensors: "model."
};
const FamilyNames& family_names(Family family);

// How a Hugging Face tensor relates to rows of a slot's tensor.
enum class Layout {
  same,
  transposed,         // GPT-2's Conv1D: [in, out]
  interleaved_heads,  // GPT-NeoX's query_key_value: rows by head, then q, k, v
};

// One Hugging Face tensor: which rows of which slot it holds.
struct TensorName {
  std::string name;
  Slot slot;
  std::int64_t layer;
  std::int64_t row_begin, row_end;  // of the slot's tensor
  Layout layout;
};

// Every tensor of the backbone and of the LM head (score is named by the head, see checkpoint.h).
std::vector<TensorName> list_tensor_names(const ModelSpec& spec, HeadKind head);

}  // namespace metarm
