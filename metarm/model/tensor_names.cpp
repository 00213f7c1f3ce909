#include <fmt/format.h>

#include "metarm/model/families.h"

namespace metarm {

namespace {

// One row of a family's table. Part says which rows of a fused slot the tensor holds.
enum class Part { all, query, key, value, gate, up };
struct NameRow {
  const char* name;  // after the backbone's prefix; a layer's after "<layers>.<index>."
  Slot slot;
  Part part = Part::all;
  Layout layout = Layout::same;
};

constexpr NameRow kLlamaLayer[] = {
    {"input_layernorm.weight", Slot::attention_norm_weight},
    {"self_attn.q_proj.weight", Slot::qkv_weight, Part::query},
    {"self_attn.k_proj.weight", Slot::qkv_weight, Part::key},
    {"self_attn.v_proj.weight", Slot::qkv_weight, Part::value},
    {"self_attn.q_proj.bias", Slot::qkv_bias, Part::query},
    {"self_attn.k_proj.bias", Slot::qkv_bias, Part::key},
    {"self_attn.v_proj.bias", Slot::qkv_bias, Part::value},
    {"self_attn.q_norm.weight", Slot::query_norm_weight},
    {"self_attn.k_norm.weight", Slot::key_norm_weight},
    {"self_attn.o_proj.weight", Slot::attention_out_weight},
    {"self_attn.o_proj.bias", Slot::attention_out_bias},
    {"mlp.gate_proj.weight", Slot::up_weight, Part::gate},
    {"mlp.up_proj.weight", Slot::up_weight, Part::up},
    {"mlp.gate_proj.bias", Slot::up_bias, Part::gate},
    {"mlp.up_proj.bias", Slot::up_bias, Part::up},
    {"mlp.down_proj.weight", Slot::down_weight},
    {"mlp.down_proj.bias", Slot::down_bias},
};
constexpr NameRow kLlamaNorms[] = {{"post_attention_layernorm.weight", Slot::mlp_norm_weight}};
constexpr NameRow kGemma2Norms[] = {
    {"post_attention_layernorm.weight", Slot::attention_post_norm_weight},
    {"pre_feedforward_layernorm.weight", Slot::mlp_norm_weight},
    {"post_feedforward_layernorm.weight", Slot::mlp_post_norm_weight},
};
constexpr NameRow kLlamaModel[] = {{"embed_tokens.weight", Slot::token_embedding}, {"norm.weight", Slot::final_norm_weight}};

constexpr NameRow kGpt2Layer[] = {
    {"ln_1.weight", Slot::attention_norm_weight},
    {"ln_1.bias", Slot::attention_norm_bias},
    {"attn.c_attn.weight", Slot::qkv_weight, Part::all, Layout::transposed},
    {"attn.c_attn.bias", Slot::qkv_bias},
    {"attn.c_proj.weight", Slot::attention_out_weight, Part::all, Layout::transposed},
    {"attn.c_proj.bias", Slot::attention_out_bias},
    {"ln_2.weight", Slot::mlp_norm_weight},
    {"ln_2.bias", Slot::mlp_norm_bias},
    {"mlp.c_fc.weight", Slot::up_weight, Part::all, Layout::transposed},
    {"mlp.c_fc.bias", Slot::up_bias},
    {"mlp.c_proj.weight", Slot::down_weight, Part::all, Layout::transposed},
    {"mlp.c_proj.bias", Slot::down_bias},
};
constexpr NameRow kGpt2Model[] = {
    {"wte.weight", Slot::token_embedding},
    {"wpe.weight", Slot::position_embedding},
    {"ln_f.weight", Slot::final_norm_weight},
    {"ln_f.bias", Slot::final_norm_bias},
};

constexpr NameRow kNeoxLayer[] = {
    {"input_layernorm.weight", Slot::attention_norm_weight},
    {"input_layernorm.bias", Slot::attention_norm_bias},
    {"attention.query_key_value.weight", Slot::qkv_weight, Part::all, Layout::interleaved_heads},
    {"attention.query_key_value.bias", Slot::qkv_bias, Part::all, Layout::interleaved_heads},
    {"attention.dense.weight", Slot::attention_out_weight},
    {"attention.dense.bias", Slot::attention_out_bias},
    {"post_attention_layernorm.weight", Slot::mlp_norm_weight},
    {"post_attention_layernorm.bias", Slot::mlp_norm_bias},
    {"mlp.dense_h_to_4h.weight", Slot::up_weight},
    {"mlp.dense_h_to_4h.bias", Slot::up_bias},
    {"mlp.dense_4h_to_h.weight", Slot::down_weight},
    {"mlp.dense_4h_to_h.bias", Slot::down_bias},
};
constexpr NameRow kNeoxModel[] = {
    {"embed_in.weight", Slot::token_embedding},
    {"final_layer_norm.weight", Slot::final_norm_weight},
    {"final_layer_norm.bias", Slot::final_norm_bias},
};

struct NameTable {
  std::vector<NameRow> model, layer;
  const char* layers;   // what stands before a layer's index
  const char* lm_head;  // whole name
};

template <std::size_t... Sizes>
std::vector<NameRow> joined(const NameRow (&... rows)[Sizes]) {
  std::vector<NameRow> all;
  (all.insert(all.end(), std::begin(rows), std::end(rows)), ...);
  return all;
}

NameTable name_table(Family family) {
  switch (family) {
    case Family::gpt2: return {joined(kGpt2Model), joined(kGpt2Layer), "h", "lm_head.weight"};
    case Family::gpt_neox: return {joined(kNeoxModel), joined(kNeoxLayer), "layers", "embed_out.weight"};
    case Family::gemma2: return {joined(kLlamaModel), joined(kLlamaLayer, kGemma2Norms), "layers", "lm_head.weight"};
    default: return {joined(kLlamaModel), joined(kLlamaLayer, kLlamaNorms), "layers", "lm_head.weight"};
  }
}

std::pair<std::int64_t, std::int64_t> part_rows(const ModelSpec& spec, Part part, std::int64_t all) {
  const std::int64_t queries = spec.heads * spec.head_width, keys = spec.kv_heads * spec.head_width;
  switch (part) {
    case Part::all: return {0, all};
    case Part::query: return {0, queries};
    case Part::key: return {queries, queries + keys};
    case Part::value: return {queries + keys, all};
    case Part::gate: return {0, spec.mlp_width};
    case Part::up: return {spec.mlp_width, all};
  }
  return {0, all};
}

void append(std::vector<TensorName>& names, const ModelSpec& spec, const SlotInfo& slot, const std::vector<NameRow>& rows,
            const std::string& prefix) {
  for (const NameRow& row : rows) {
    if (row.slot != slot.slot) continue;
    const auto [begin, end] = part_rows(spec, row.part, slot.info.shape[0]);
    names.push_back({prefix + row.name, slot.slot, slot.layer, begin, end, row.layout});
  }
}

}  // namespace

std::vector<TensorName> list_tensor_names(const ModelSpec& spec, HeadKind head) {
  const NameTable table = name_table(spec.family);
  const std::string prefix = family_names(spec.family).prefix;
  std::vector<TensorName> names;
  for (const SlotInfo& slot : list_slots(spec, head)) {
    if (is_layer_slot(slot.slot))
      append(names, spec, slot, table.layer, fmt::format("{}{}.{}.", prefix, table.layers, slot.layer));
    else if (slot.slot == Slot::lm_head)
      names.push_back({table.lm_head, slot.slot, 0, 0, spec.vocab_size, Layout::same});
    else
      append(names, spec, slot, table.model, prefix);
  }
  return names;
}

}  // namespace metarm
