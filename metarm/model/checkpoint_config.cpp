#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/model/checkpoint.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && std::string_view(text).substr(text.size() - end.size()) == end;
}

// Reward models that trainers other than transformers write; their heads are named in checkpoint_load.cpp.
constexpr const char* kForeignRewardModels[] = {"LlamaRewardModel",   "GPTRewardModel",  "LlamaForScore", "LlamaModelForScore",
                                                "GPTNeoXRewardModel", "MistralForScore", "RewardModel",   "CriticModel"};

HeadKind parse_head(const Json& json, const ModelSpec& spec, const std::string& where) {
  if (!json.contains("architectures") || !json["architectures"].is_array() || json["architectures"].empty() ||
      !json["architectures"][0].is_string())
    fail_input("{}: architectures: expected a list with one name such as {}, got {}", where, family_names(spec.family).reward_architecture,
               json.contains("architectures") ? json["architectures"].dump() : "none");
  const std::string name = json["architectures"][0];
  if (json.contains("value_head_prefix") || ends_with(name, "ForSequenceClassification")) return HeadKind::reward;
  for (const char* foreign : kForeignRewardModels)
    if (name == foreign) return HeadKind::reward;
  if (ends_with(name, "ForCausalLM") || ends_with(name, "LMHeadModel")) return HeadKind::language_model;
  fail_input(
      "{}: architectures: expected a causal language model or a *ForSequenceClassification of llama, mistral, qwen2, qwen3, gemma2, gpt2 "
      "or gpt_neox, got {}",
      where, name);
}

}  // namespace

std::vector<std::int64_t> token_id_list(const Json& json, const char* field, const std::string& where) {
  if (!json.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(json));
  std::vector<std::int64_t> ids;
  if (!json.contains(field) || json[field].is_null()) return ids;
  for (const Json& id : json[field].is_array() ? json[field] : Json::array({json[field]})) {
    if (!id.is_number_integer()) fail_input("{}: {}: expected a token id, got {}", where, field, json_type_name(id));
    ids.push_back(id.get<std::int64_t>());
  }
  return ids;
}

CheckpointConfig load_checkpoint_config(const std::string& directory) {
  if (!fs::is_directory(directory))
    fail_input("{}: expected a checkpoint directory, got {}", directory, fs::exists(directory) ? "a file" : "nothing there");
  const std::string path = (fs::path(directory) / "config.json").string();
  if (!fs::exists(path)) fail_input("{}: expected config.json in a checkpoint directory, got none", directory);
  CheckpointConfig config;
  config.directory = config.tokenizer_directory = directory;
  config.json = load_json(path);
  if (!config.json.is_object()) fail_input("{}: expected an object, got {}", path, json_type_name(config.json));
  config.spec = parse_model_spec(config.json, path);
  config.head = parse_head(config.json, config.spec, path);
  const std::vector<std::int64_t> pad = token_id_list(config.json, "pad_token_id", path);
  if (!pad.empty()) config.pad_token_id = pad.front();
  config.end_token_ids = token_id_list(config.json, "eos_token_id", path);
  return config;
}

std::string reward_label(const CheckpointConfig& config) {
  const Json labels = config.json.value("id2label", Json());
  const Json label = labels.is_object() ? labels.value("0", Json()) : Json();
  return label.is_string() ? label.get<std::string>() : "LABEL_0";
}

}  // namespace metarm
