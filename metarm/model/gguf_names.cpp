#include "metarm/model/gguf_names.h"

#include <fmt/format.h>

#include <span>

namespace metarm {

namespace {

// Names without ".weight" and ".bias", which are the same on both sides; a layer's without what stands before and with its index.
struct StemRow {
  std::string_view ours, gguf;
};
struct StemTable {
  std::string_view layers;  // what stands before a layer's index
  std::span<const StemRow> model, layer;
};

constexpr StemRow kLlamaModel[] = {{"model.embed_tokens", "token_embd"}, {"model.norm", "output_norm"}, {"lm_head", "output"}};
constexpr StemRow kLlamaLayer[] = {
    {"input_layernorm", "attn_norm"},    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},      {"self_attn.v_proj", "attn_v"},
    {"self_attn.q_norm", "attn_q_norm"}, {"self_attn.k_norm", "attn_k_norm"},
    {"self_attn.o_proj", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},       {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
};
constexpr StemRow kGemma2Layer[] = {
    {"input_layernorm", "attn_norm"},
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
};
constexpr StemRow kGpt2Model[] = {
    {"transformer.wte", "token_embd"}, {"transformer.wpe", "position_embd"}, {"transformer.ln_f", "output_norm"}, {"lm_head", "output"}};
constexpr StemRow kGpt2Layer[] = {{"ln_1", "attn_norm"}, {"attn.c_attn", "attn_qkv"}, {"attn.c_proj", "attn_output"},
                                  {"ln_2", "ffn_norm"},  {"mlp.c_fc", "ffn_up"},      {"mlp.c_proj", "ffn_down"}};
constexpr StemRow kNeoxModel[] = {
    {"gpt_neox.embed_in", "token_embd"}, {"gpt_neox.final_layer_norm", "output_norm"}, {"embed_out", "output"}};
constexpr StemRow kNeoxLayer[] = {{"input_layernorm", "attn_norm"},   {"attention.query_key_value", "attn_qkv"},
                                  {"attention.dense", "attn_output"}, {"post_attention_layernorm", "ffn_norm"},
                                  {"mlp.dense_h_to_4h", "ffn_up"},    {"mlp.dense_4h_to_h", "ffn_down"}};

StemTable stem_table(Family family) {
  switch (family) {
    case Family::gemma2: return {"model.layers.", kLlamaModel, kGemma2Layer};
    case Family::gpt2: return {"transformer.h.", kGpt2Model, kGpt2Layer};
    case Family::gpt_neox: return {"gpt_neox.layers.", kNeoxModel, kNeoxLayer};
    default: return {"model.layers.", kLlamaModel, kLlamaLayer};
  }
}

std::optional<std::string_view> find_stem(std::span<const StemRow> rows, std::string_view stem) {
  for (const StemRow& row : rows)
    if (row.ours == stem) return row.gguf;
  return std::nullopt;
}

}  // namespace

std::optional<std::string> gguf_tensor_name(Family family, std::string_view name) {
  const StemTable table = stem_table(family);
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  std::string_view stem = name.substr(0, dot);
  const std::string_view kind = name.substr(dot);
  if (!stem.starts_with(table.layers)) {
    const auto found = find_stem(table.model, stem);
    return found ? std::optional(fmt::format("{}{}", *found, kind)) : std::nullopt;
  }
  stem.remove_prefix(table.layers.size());
  const std::size_t index_end = stem.find('.');
  if (index_end == std::string_view::npos) return std::nullopt;
  const auto found = find_stem(table.layer, stem.substr(index_end + 1));
  return found ? std::optional(fmt::format("blk.{}.{}{}", stem.substr(0, index_end), *found, kind)) : std::nullopt;
}

}  // namespace metarm
