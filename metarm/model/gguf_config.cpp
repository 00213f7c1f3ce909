#include "metarm/model/gguf_config.h"

#include <array>
#include <charconv>

#include "metarm/base/error.h"
#include "metarm/model/gguf_rope.h"

namespace metarm {

namespace {

// A float32 as the shortest decimal that stands for it: 1e-05, not 9.999999747378752e-06.
double shortest(double value) {
  std::array<char, 32> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), static_cast<float>(value)).ptr;
  std::from_chars(text.data(), end, value);
  return value;
}

// The hyper-parameters under `architecture.`
class Parameters {
 public:
  Parameters(const GgufFile& file, std::string_view architecture) : file_(file), architecture_(architecture) {}

  const GgufFile& file() const { return file_; }
  const std::string& architecture() const { return architecture_; }
  std::string key(const char* name) const { return architecture_ + "." + name; }
  std::int64_t integer(const char* name) const { return file_.require_integer(key(name)); }
  std::int64_t integer(const char* name, std::int64_t otherwise) const { return file_.integer(key(name)).value_or(otherwise); }
  double number(const char* name) const { return shortest(file_.require_number(key(name))); }
  double number(const char* name, double otherwise) const { return shortest(file_.number(key(name)).value_or(otherwise)); }
  bool has_tensor(std::string_view name) const { return file_.find_tensor(name) != nullptr; }

  std::int64_t layers() const {
    const std::int64_t layers = integer("block_count");
    if (layers > static_cast<std::int64_t>(file_.tensors().size()))
      fail_input("{}: {}: expected no more layers than the {} tensors, got {}", file_.where(), key("block_count"), file_.tensors().size(),
                 layers);
    return layers;
  }
  std::int64_t heads() const {
    const std::int64_t heads = integer("attention.head_count");
    if (heads == 0) fail_input("{}: {}: expected at least one, got 0", file_.where(), key("attention.head_count"));
    return heads;
  }
  std::int64_t head_width() const { return integer("attention.key_length", integer("embedding_length") / heads()); }
  std::int64_t vocabulary() const {
    const GgufTensor* embedding = file_.find_tensor("token_embd.weight");
    if (embedding == nullptr) fail_input("{}: token_embd.weight: expected a tensor, got none", file_.where());
    return embedding->shape[0];
  }

 private:
  const GgufFile& file_;
  std::string architecture_;
};

void add_rope(const Parameters& parameters, std::int64_t rotary_width, Json& config) {
  const double theta = parameters.number("rope.freq_base", 10000.0);
  config["rope_theta"] = theta;
  config["rope_scaling"] = make_gguf_rope_scaling(parameters.file(), parameters.architecture(), theta, rotary_width);
}

Json common_config(const Parameters& parameters) {
  return {{"vocab_size", parameters.vocabulary()},
          {"hidden_size", parameters.integer("embedding_length")},
          {"num_hidden_layers", parameters.layers()},
          {"num_attention_heads", parameters.heads()},
          {"intermediate_size", parameters.integer("feed_forward_length")},
          {"max_position_embeddings", parameters.integer("context_length")},
          {"tie_word_embeddings", !parameters.has_tensor("output.weight")}};
}

// What the families built like Llama share.
Json llama_like_config(const Parameters& parameters) {
  Json config = common_config(parameters);
  const std::int64_t head_width = parameters.head_width();
  config["num_key_value_heads"] = parameters.integer("attention.head_count_kv", parameters.heads());
  config["head_dim"] = head_width;
  config["hidden_act"] = "silu";
  config["rms_norm_eps"] = parameters.number("attention.layer_norm_rms_epsilon");
  for (const char* name : {"attention.value_length", "rope.dimension_count"})
    if (const std::int64_t width = parameters.integer(name, head_width); width != head_width)
      fail_input("{}: {}: expected {}, the width of a head, got {}", parameters.file().where(), parameters.key(name), head_width, width);
  add_rope(parameters, head_width, config);
  return config;
}

// Mistral's files call themselves llama: without a window the two are one.
Json llama_config(const Parameters& parameters) {
  Json config = llama_like_config(parameters);
  const std::int64_t window = parameters.integer("attention.sliding_window", 0);
  config["model_type"] = window > 0 ? "mistral" : "llama";
  config["architectures"] = {window > 0 ? "MistralForCausalLM" : "LlamaForCausalLM"};
  if (window > 0) {
    config["sliding_window"] = window;
  } else {
    config["attention_bias"] = parameters.has_tensor("blk.0.attn_q.bias");
    config["mlp_bias"] = parameters.has_tensor("blk.0.ffn_up.bias");
  }
  return config;
}

Json qwen2_config(const Parameters& parameters) {
  Json config = llama_like_config(parameters);
  config["model_type"] = "qwen2";
  config["architectures"] = {"Qwen2ForCausalLM"};
  config["use_sliding_window"] = false;
  return config;
}

Json qwen3_config(const Parameters& parameters) {
  Json config = llama_like_config(parameters);
  config["model_type"] = "qwen3";
  config["architectures"] = {"Qwen3ForCausalLM"};
  config["use_sliding_window"] = false;
  config["attention_bias"] = parameters.has_tensor("blk.0.attn_q.bias");
  return config;
}

Json gemma2_config(const Parameters& parameters) {
  Json config = llama_like_config(parameters);
  constexpr std::int64_t kLayers27B = 46;  // the one size whose queries are not scaled by the head's width
  config["model_type"] = "gemma2";
  config["architectures"] = {"Gemma2ForCausalLM"};
  config["hidden_act"] = config["hidden_activation"] = "gelu_pytorch_tanh";
  config["query_pre_attn_scalar"] =
      parameters.layers() == kLayers27B ? parameters.integer("embedding_length") / parameters.heads() : parameters.head_width();
  config["attn_logit_softcapping"] = parameters.number("attn_logit_softcapping", 50.0);
  config["final_logit_softcapping"] = parameters.number("final_logit_softcapping", 30.0);
  config["sliding_window"] = parameters.integer("attention.sliding_window", 4096);
  return config;
}

Json gpt2_config(const Parameters& parameters) {
  return {{"model_type", "gpt2"},
          {"architectures", {"GPT2LMHeadModel"}},
          {"vocab_size", parameters.vocabulary()},
          {"n_embd", parameters.integer("embedding_length")},
          {"n_layer", parameters.layers()},
          {"n_head", parameters.heads()},
          {"n_inner", parameters.integer("feed_forward_length")},
          {"n_positions", parameters.integer("context_length")},
          {"layer_norm_epsilon", parameters.number("attention.layer_norm_epsilon")},
          {"activation_function", "gelu_new"},
          {"tie_word_embeddings", !parameters.has_tensor("output.weight")}};
}

Json gpt_neox_config(const Parameters& parameters) {
  Json config = common_config(parameters);
  const std::int64_t rotary_width = parameters.integer("rope.dimension_count", parameters.head_width());
  config["model_type"] = "gpt_neox";
  config["architectures"] = {"GPTNeoXForCausalLM"};
  config["hidden_act"] = "gelu";
  config["layer_norm_eps"] = parameters.number("attention.layer_norm_epsilon");
  config["use_parallel_residual"] = parameters.file().flag(parameters.key("use_parallel_residual")).value_or(true);
  config["attention_bias"] = parameters.has_tensor("blk.0.attn_qkv.bias");
  add_rope(parameters, rotary_width, config);
  config["rotary_emb_base"] = config["rope_theta"];
  config["rotary_pct"] = static_cast<double>(rotary_width) / static_cast<double>(parameters.head_width());
  return config;
}

void add_token_ids(const GgufFile& file, Json& config) {
  for (const auto& [field, key] :
       {std::pair("bos_token_id", "tokenizer.ggml.bos_token_id"), std::pair("eos_token_id", "tokenizer.ggml.eos_token_id"),
        std::pair("pad_token_id", "tokenizer.ggml.padding_token_id")}) {
    const auto id = file.integer(key);
    config[field] = id ? Json(*id) : Json();
  }
}

struct ArchitectureRow {
  const char* name;
  Json (*make)(const Parameters&);
};
constexpr ArchitectureRow kArchitectures[] = {{"llama", llama_config},   {"qwen2", qwen2_config}, {"qwen3", qwen3_config},
                                              {"gemma2", gemma2_config}, {"gpt2", gpt2_config},   {"gptneox", gpt_neox_config}};

}  // namespace

Json make_gguf_config(const GgufFile& file) {
  constexpr const char* key = "general.architecture";
  const std::string_view name = file.text(key).value_or("none");
  std::string known;
  for (const ArchitectureRow& row : kArchitectures) {
    known += fmt::format("{}{}", known.empty() ? "" : ", ", row.name);
    if (row.name != name) continue;
    Json config = row.make(Parameters(file, name));
    add_token_ids(file, config);
    return config;
  }
  fail_input("{}: {}: expected one of {}, got {}", file.where(), key, known, name);
}

}  // namespace metarm
