#include "metarm/model/spec_difference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>
#include <vector>

#include "metarm/model/families.h"

namespace metarm {

namespace {

// What decides a reward model's forward pass; an LM head does not.
std::vector<std::pair<const char*, std::string>> describe(const ModelSpec& spec) {
  const auto text = [](const auto& value) { return fmt::format("{}", value); };
  const auto number = [](auto value) { return std::to_string(static_cast<int>(value)); };
  const RopeScaling scaling = spec.rope_scaling.value_or(RopeScaling{});
  const bool learned = spec.positions == PositionKind::learned;
  return {{"model_type", family_names(spec.family).model_type},
          {"num_hidden_layers", text(spec.layers)},
          {"hidden_size", text(spec.width)},
          {"num_attention_heads", text(spec.heads)},
          {"num_key_value_heads", text(spec.kv_heads)},
          {"head_dim", text(spec.head_width)},
          {"intermediate_size", text(spec.mlp_width)},
          {"vocab_size", text(spec.vocab_size)},
          {"max_position_embeddings", text(learned ? spec.max_positions : 0)},
          {"norm", number(spec.norm) + number(spec.norm_place) + number(spec.norm_adds_one) + number(spec.query_key_norm)},
          {"rms_norm_eps", text(spec.norm_epsilon)},
          {"rotary width", text(spec.rotary_width)},
          {"rope_theta", learned ? "" : text(spec.rope_theta)},
          {"rope_scaling", fmt::format("{} {} {} {} {}", scaling.factor, scaling.low_freq_factor, scaling.high_freq_factor,
                                       scaling.original_max_positions, spec.rope_linear_factor)},
          {"attention_bias", number(spec.qkv_bias) + number(spec.attention_out_bias)},
          {"mlp_bias", number(spec.mlp_bias)},
          {"hidden_act", number(spec.activation) + number(spec.mlp)},
          {"use_parallel_residual", number(spec.parallel_residual)},
          {"embedding scale", text(spec.embedding_scale)},
          {"attention scale", text(spec.attention_scale)},
          {"attn_logit_softcapping", text(spec.attention_softcap)},
          {"sliding_window", fmt::format("{}", fmt::join(spec.window, " "))}};
}

}  // namespace

std::string spec_difference(const ModelSpec& a, const ModelSpec& b) {
  const auto of_a = describe(a), of_b = describe(b);
  for (std::size_t i = 0; i < of_a.size(); ++i)
    if (of_a[i].second != of_b[i].second) return fmt::format("{}: expected {}, got {}", of_a[i].first, of_a[i].second, of_b[i].second);
  return "";
}

}  // namespace metarm
