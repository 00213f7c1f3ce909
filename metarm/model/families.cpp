#include "metarm/model/families.h"

#include <cmath>
#include <functional>
#include <string_view>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// Checked access to the fields of a config.json, with what transformers takes where they are absent.
class Config {
 public:
  Config(const Json& json, const std::string& where) : json_(json), where_(where) {}

  bool has(const char* field) const { return json_.contains(field) && !json_[field].is_null(); }
  std::int64_t integer(const char* field) const {
    require(field);
    return checked_integer(field);
  }
  std::int64_t integer(const char* field, std::int64_t otherwise) const { return has(field) ? checked_integer(field) : otherwise; }
  double number(const char* field, double otherwise) const { return has(field) ? number_field(json_, field, where_) : otherwise; }
  double positive(const char* field, double otherwise) const {
    const double value = number(field, otherwise);
    if (!(value > 0)) fail_input("{}: {}: expected more than 0, got {}", where_, field, value);
    return value;
  }
  // Where null turns a thing off (0) and an absent field leaves it as the family has it.
  std::int64_t integer_or_off(const char* field, std::int64_t absent) const { return json_.contains(field) ? integer(field, 0) : absent; }
  double number_or_off(const char* field, double absent) const { return json_.contains(field) ? number(field, 0) : absent; }
  bool flag(const char* field, bool otherwise) const {
    if (!has(field)) return otherwise;
    if (!json_[field].is_boolean()) fail_input("{}: {}: expected true or false, got {}", where_, field, json_type_name(json_[field]));
    return json_[field].get<bool>();
  }
  std::string text(const char* field, const std::string& otherwise) const {
    return has(field) ? text_field(json_, field, where_) : otherwise;
  }
  std::int64_t layers(const char* field) const {
    constexpr std::int64_t kMaxLayers = 10000;
    const std::int64_t value = integer(field);
    if (value > kMaxLayers) fail_input("{}: {}: expected at most {}, got {}", where_, field, kMaxLayers, value);
    return value;
  }
  const Json& object(const char* field) const {
    require(field);
    if (!json_[field].is_object()) fail_input("{}: {}: expected an object, got {}", where_, field, json_type_name(json_[field]));
    return json_[field];
  }
  const Json& json() const { return json_; }
  const std::string& where() const { return where_; }

 private:
  void require(const char* field) const {
    if (!has(field)) fail_input("{}: {}: expected a value, got none", where_, field);
  }
  std::int64_t checked_integer(const char* field) const {
    const Json& value = json_[field];
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0 || value.get<std::int64_t>() > (std::int64_t{1} << 40))
      fail_input("{}: {}: expected a whole number from 0, got {}", where_, field, value.dump());
    return value.get<std::int64_t>();
  }

  const Json& json_;
  const std::string& where_;
};

Activation parse_activation(const Config& config, const char* field, const char* otherwise) {
  const std::string name = config.text(field, otherwise);
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "gelu" || name == "gelu_python") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::gelu_tanh;
  fail_input("{}: {}: expected silu, gelu, gelu_new or gelu_pytorch_tanh, got {}", config.where(), field, name);
}

// transformers writes `rope_theta` and `rope_scaling`, or both together as `rope_parameters`; where a file has both, rope_scaling counts.
const char* rope_field(const Config& config) {
  if (config.has("rope_scaling") && !config.json()["rope_scaling"].empty()) return "rope_scaling";
  return config.has("rope_parameters") ? "rope_parameters" : nullptr;
}

RopeScaling parse_llama3_rope(const Config& config, const Config& rope) {
  const char* original = "original_max_position_embeddings";
  const std::int64_t inner = rope.integer(original, config.integer("max_position_embeddings", 0));
  const RopeScaling scaling = {rope.positive("factor", 8.0), rope.positive("low_freq_factor", 1.0), rope.positive("high_freq_factor", 4.0),
                               config.integer(original, inner)};
  if (scaling.original_max_positions == 0) fail_input("{}: {}: expected a number of positions, got none", rope.where(), original);
  if (scaling.low_freq_factor == scaling.high_freq_factor)
    fail_input("{}: low_freq_factor, high_freq_factor: expected two numbers, got {} twice", rope.where(), scaling.low_freq_factor);
  return scaling;
}

void parse_rope(const Config& config, ModelSpec& spec, const char* theta_field) {
  spec.rope_theta = config.positive(theta_field, spec.rope_theta);
  const char* field = rope_field(config);
  if (field == nullptr) return;
  const std::string inner = config.where() + ": " + field;
  const Config rope(config.object(field), inner);
  spec.rope_theta = rope.positive("rope_theta", spec.rope_theta);
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "linear")
    spec.rope_linear_factor = rope.positive("factor", 1.0);
  else if (type == "llama3")
    spec.rope_scaling = parse_llama3_rope(config, rope);
  else if (type != "default")
    fail_input("{}: rope_type: expected default, linear or llama3, got {}", inner, type);
}

void parse_common(const Config& config, ModelSpec& spec) {
  spec.vocab_size = config.integer("vocab_size");
  spec.width = config.integer("hidden_size");
  spec.layers = config.layers("num_hidden_layers");
  spec.heads = config.integer("num_attention_heads");
  spec.kv_heads = config.integer("num_key_value_heads", spec.heads);
  spec.head_width = config.integer("head_dim", spec.heads > 0 ? spec.width / spec.heads : 0);
  spec.mlp_width = config.integer("intermediate_size");
  spec.max_positions = config.integer("max_position_embeddings", 0);
  spec.norm_epsilon = config.number("rms_norm_eps", 1e-6);
  spec.rotary_width = spec.head_width;
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_width));
  spec.activation = parse_activation(config, "hidden_act", "silu");
  parse_rope(config, spec, "rope_theta");
}

// Which layers see a sliding window: `layer_types` where the config lists them, else the family's rule.
void parse_windows(const Config& config, ModelSpec& spec, const std::function<bool(std::int64_t)>& slides) {
  const std::int64_t window = config.integer_or_off("sliding_window", 4096);
  if (window == 0) return;
  const bool listed = config.has("layer_types");
  if (listed && (!config.json()["layer_types"].is_array() || config.json()["layer_types"].size() != static_cast<std::size_t>(spec.layers)))
    fail_input("{}: layer_types: expected a list of {} names", config.where(), spec.layers);
  for (std::int64_t i = 0; i < spec.layers; ++i) {
    const bool sliding = listed ? config.json()["layer_types"][static_cast<std::size_t>(i)] == "sliding_attention" : slides(i);
    spec.window.push_back(sliding ? window : 0);
  }
}

void parse_llama(const Config& config, ModelSpec& spec) {
  parse_common(config, spec);
  spec.tied_embeddings = config.flag("tie_word_embeddings", false);
  spec.qkv_bias = spec.attention_out_bias = config.flag("attention_bias", false);
  spec.mlp_bias = config.flag("mlp_bias", false);
}

void parse_mistral(const Config& config, ModelSpec& spec) {
  parse_common(config, spec);
  spec.tied_embeddings = config.flag("tie_word_embeddings", false);
  parse_windows(config, spec, [](std::int64_t) { return true; });
}

void parse_qwen2(const Config& config, ModelSpec& spec) {
  parse_common(config, spec);
  spec.tied_embeddings = config.flag("tie_word_embeddings", false);
  spec.qkv_bias = true;
  if (config.flag("use_sliding_window", false)) {
    const std::int64_t full = config.integer("max_window_layers", 28);
    parse_windows(config, spec, [full](std::int64_t layer) { return layer >= full; });
  }
}

void parse_qwen3(const Config& config, ModelSpec& spec) {
  parse_qwen2(config, spec);
  spec.head_width = spec.rotary_width = config.integer("head_dim", 128);
  spec.attention_scale = 1.0 / std::sqrt(static_cast<double>(spec.head_width));
  spec.qkv_bias = spec.attention_out_bias = config.flag("attention_bias", false);
  spec.query_key_norm = true;
}

void parse_gemma2(const Config& config, ModelSpec& spec) {
  parse_common(config, spec);
  spec.head_width = spec.rotary_width = config.integer("head_dim", 256);
  spec.tied_embeddings = config.flag("tie_word_embeddings", true);
  spec.activation = parse_activation(config, "hidden_activation", "gelu_pytorch_tanh");
  spec.norm_place = NormPlace::before_and_after;
  spec.norm_adds_one = true;
  spec.embedding_scale = std::sqrt(static_cast<double>(spec.width));
  spec.attention_scale = 1.0 / std::sqrt(config.positive("query_pre_attn_scalar", 256.0));
  spec.attention_softcap = config.number_or_off("attn_logit_softcapping", 50.0);
  spec.logit_softcap = config.number_or_off("final_logit_softcapping", 30.0);
  spec.qkv_bias = spec.attention_out_bias = config.flag("attention_bias", false);
  parse_windows(config, spec, [](std::int64_t layer) { return layer % 2 == 0; });
}

void parse_gpt2(const Config& config, ModelSpec& spec) {
  spec.vocab_size = config.integer("vocab_size");
  spec.width = config.integer("n_embd");
  spec.layers = config.layers("n_layer");
  spec.heads = spec.kv_heads = config.integer("n_head");
  spec.head_width = spec.heads > 0 ? spec.width / spec.heads : 0;
  spec.mlp_width = config.integer("n_inner", 4 * spec.width);
  spec.max_positions = config.integer("n_positions");
  spec.norm = NormKind::layer;
  spec.norm_epsilon = config.number("layer_norm_epsilon", 1e-5);
  spec.positions = PositionKind::learned;
  spec.qkv_bias = spec.attention_out_bias = spec.mlp_bias = true;
  spec.mlp = MlpKind::plain;
  spec.activation = parse_activation(config, "activation_function", "gelu_new");
  spec.tied_embeddings = config.flag("tie_word_embeddings", true);
  spec.attention_scale = config.flag("scale_attn_weights", true) ? 1.0 / std::sqrt(static_cast<double>(spec.head_width)) : 1.0;
  if (config.flag("scale_attn_by_inverse_layer_idx", false))
    fail_input("{}: scale_attn_by_inverse_layer_idx: expected false, got true, which is not supported", config.where());
}

void parse_gpt_neox(const Config& config, ModelSpec& spec) {
  parse_common(config, spec);
  spec.kv_heads = spec.heads;
  spec.norm = NormKind::layer;
  spec.norm_epsilon = config.number("layer_norm_eps", 1e-5);
  spec.mlp = MlpKind::plain;
  spec.activation = parse_activation(config, "hidden_act", "gelu");
  spec.qkv_bias = spec.attention_out_bias = config.flag("attention_bias", true);
  spec.mlp_bias = true;
  spec.parallel_residual = config.flag("use_parallel_residual", true);
  spec.tied_embeddings = config.flag("tie_word_embeddings", false);
  parse_rope(config, spec, "rotary_emb_base");
  double share = config.number("rotary_pct", config.number("partial_rotary_factor", 0.25));
  if (const char* field = rope_field(config)) share = Config(config.object(field), config.where()).number("partial_rotary_factor", share);
  if (!(share >= 0 && share <= 1)) fail_input("{}: rotary_pct: expected a share from 0 to 1, got {}", config.where(), share);
  spec.rotary_width = static_cast<std::int64_t>(static_cast<double>(spec.head_width) * share);
}

void check_spec(const ModelSpec& spec, const std::string& where) {
  constexpr std::int64_t kMaxSize = std::int64_t{1} << 30;  // products of two and a few more stay within 64 bits
  const auto size = [&](const char* what, std::int64_t value) {
    if (value <= 0 || value > kMaxSize) fail_input("{}: {}: expected from 1 to {}, got {}", where, what, kMaxSize, value);
  };
  size("vocabulary size", spec.vocab_size);
  size("width", spec.width);
  size("layers", spec.layers);
  size("attention heads", spec.heads);
  size("key/value heads", spec.kv_heads);
  size("head width", spec.head_width);
  size("MLP width", spec.mlp_width);
  if (spec.positions == PositionKind::learned) size("positions", spec.max_positions);
  if (spec.heads % spec.kv_heads != 0)
    fail_input("{}: num_key_value_heads: expected a divisor of {} heads, got {}", where, spec.heads, spec.kv_heads);
  if (spec.rotary_width % 2 != 0) fail_input("{}: expected an even number of rotary components, got {}", where, spec.rotary_width);
  if (!(spec.norm_epsilon >= 0)) fail_input("{}: expected a norm's epsilon from 0, got {}", where, spec.norm_epsilon);
}

struct FamilyRow {
  FamilyNames names;
  void (*parse)(const Config&, ModelSpec&);
};

constexpr FamilyRow kFamilies[] = {
    {{Family::llama, "llama", "LlamaForCausalLM", "LlamaForSequenceClassification", "model."}, parse_llama},
    {{Family::mistral, "mistral", "MistralForCausalLM", "MistralForSequenceClassification", "model."}, parse_mistral},
    {{Family::qwen2, "qwen2", "Qwen2ForCausalLM", "Qwen2ForSequenceClassification", "model."}, parse_qwen2},
    {{Family::qwen3, "qwen3", "Qwen3ForCausalLM", "Qwen3ForSequenceClassification", "model."}, parse_qwen3},
    {{Family::gemma2, "gemma2", "Gemma2ForCausalLM", "Gemma2ForSequenceClassification", "model."}, parse_gemma2},
    {{Family::gpt2, "gpt2", "GPT2LMHeadModel", "GPT2ForSequenceClassification", "transformer."}, parse_gpt2},
    {{Family::gpt_neox, "gpt_neox", "GPTNeoXForCausalLM", "GPTNeoXForSequenceClassification", "gpt_neox."}, parse_gpt_neox},
};

const FamilyRow& find_family(const std::string& model_type, const std::string& where) {
  const std::string_view type = model_type == "gpt_neox_reward_model" ? "gpt_neox" : std::string_view(model_type);
  std::string supported;
  for (const FamilyRow& row : kFamilies) {
    if (row.names.model_type == type) return row;
    supported += (supported.empty() ? "" : ", ") + std::string(row.names.model_type);
  }
  fail_input("{}: model_type: expected one of {}, got {}", where, supported, model_type);
}

}  // namespace

ModelSpec parse_model_spec(const Json& json, const std::string& where) {
  const FamilyRow& row = find_family(text_field(json, "model_type", where), where);
  if (json.contains("quantization_config") && !json["quantization_config"].is_null())
    fail_input(
        "{}: quantization_config: expected float weights, got a quantized checkpoint; convert it to float32, float16 or bfloat16 first",
        where);
  ModelSpec spec;
  spec.family = row.names.family;
  row.parse(Config(json, where), spec);
  check_spec(spec, where);
  return spec;
}

const FamilyNames& family_names(Family family) {
  for (const FamilyRow& row : kFamilies)
    if (row.names.family == family) return row.names;
  fail_internal("unknown family");
}

}  // namespace metarm
