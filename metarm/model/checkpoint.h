// Hugging Face checkpoint directories: config.json, safetensors (one file or sharded, memory-mapped on reading), tokenizer files.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/model/families.h"
#include "metarm/model/pad_token.h"
#include "metarm/model/reward_model.h"

namespace metarm {

// What config.json says, before any tensor is read.
struct CheckpointConfig {
  std::string directory;
  std::string tokenizer_directory;  // whose tokenizer is written with it
  Json json;
  ModelSpec spec;
  HeadKind head;  // as `architectures` names it
  std::optional<std::int64_t> pad_token_id;
  std::vector<std::int64_t> end_token_ids;  // Llama 3 lists several
  std::optional<PadToken> new_pad;          // chosen where the reward model needs another, to be written with it
};
CheckpointConfig load_checkpoint_config(const std::string& directory);

// What `transformers` calls the one output of a reward model: id2label's name of it, LABEL_0 where there is none.
std::string reward_label(const CheckpointConfig& config);

// The token ids of a field that holds one, a list, null or nothing.
std::vector<std::int64_t> token_id_list(const Json& json, const char* field, const std::string& where);

// What to do where a checkpoint has no reward head. A *ForSequenceClassification without one is always an error.
enum class MissingHead {
  fail,        // scoring: never a random head
  initialise,  // training from a causal LM: N(0, 1 / (width + 1)), seeded
  zero,        // under an adapter, which brings the head
};

struct LoadedRewardModel {
  RewardModel reward_model;
  CheckpointConfig config;
  at::Tensor head;  // the reward head as the checkpoint has it, [1, D] float32 whatever the type of the weights
  bool new_head = false;
};

// Weights in `dtype` (float32 or bfloat16) on `device`. `pooling` absent: as the checkpoint was trained (config.json's metarm_pooling),
// else last_not_pad. Input errors name the file, the tensor, and what is supported; NaN and infinite weights are errors, and sizes are
// compared with the files before memory is taken. A directory with adapter_config.json is its base with the adapter merged. A head's bias
// is added to rewards, but is none of the weights' storage: see remove_score_bias.
LoadedRewardModel load_reward_model(const std::string& directory, at::ScalarType dtype, at::Device device, MissingHead missing_head,
                                    std::uint64_t seed, std::optional<Pooling> pooling, Log& log);

struct LoadedLanguageModel {
  Model model;
  CheckpointConfig config;
};
// The same for a policy; an adapter's directory is its base with the adapter merged.
LoadedLanguageModel load_language_model(const std::string& directory, at::ScalarType dtype, at::Device device, Log& log);

// The LM head of a checkpoint, or of an adapter's base, float32 [V, D]; undefined where it is the token embedding. Input error where there
// is none, as in an untied reward model.
at::Tensor load_language_model_head(const std::string& directory);

enum class SaveDType { float32, bfloat16, float16 };
template <>
struct EnumNames<SaveDType> {
  static constexpr std::pair<SaveDType, const char*> values[] = {
      {SaveDType::float32, "float32"}, {SaveDType::bfloat16, "bfloat16"}, {SaveDType::float16, "float16"}};
};

// Warns where rewards are read before the end token, because it is the pad token.
void warn_about_pad(const LoadedRewardModel& loaded, const Tokenizer& tokenizer, Log& log);

// Writes a reward model (its head without a bias) that `transformers` loads as *ForSequenceClassification with one label and scores the
// same: config.json, model.safetensors (shards of up to 5 GB), and the tokenizer's files copied from `config.tokenizer_directory`.
// `directory` must exist; weights are any float type, and finite in `dtype` (else an input error). The pad token is that of `reward_model`.
void save_reward_model(const std::string& directory, const RewardModel& reward_model, const CheckpointConfig& config, SaveDType dtype);
// The same for a language model, that `transformers` loads as *ForCausalLM with the same logits; with generation_config.json, where the
// checkpoint has one.
void save_language_model(const std::string& directory, const Model& model, const CheckpointConfig& config, SaveDType dtype);

}  // namespace metarm
