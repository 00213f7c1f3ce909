// Hugging Face checkpoint directories: config.json, safetensors (one file or sharded, memory-mapped on reading), tokenizer files.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

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
  Json json;
  ModelSpec spec;
  HeadKind head;  // as `architectures` names it
  std::optional<std::int64_t> pad_token_id, eos_token_id;
  std::optional<PadToken> new_pad;  // chosen for a new reward model, to be written with it
};
CheckpointConfig load_checkpoint_config(const std::string& directory);

// What to do where a checkpoint has no reward head. A *ForSequenceClassification without one is always an error.
enum class MissingHead {
  fail,        // scoring: never a random head
  initialise,  // training from a causal LM: N(0, 1 / (width + 1)), seeded
};

struct LoadedRewardModel {
  RewardModel reward_model;
  CheckpointConfig config;
  bool new_head = false;
};

// Weights in `dtype` (float32 or bfloat16) on `device`. `pooling` absent: as the checkpoint was trained (config.json's metarm_pooling),
// else last_not_pad. Input errors name the file, the tensor, and what is supported; NaN and infinite weights are errors. A directory with
// adapter_config.json is its base with the adapter merged.
LoadedRewardModel load_reward_model(const std::string& directory, at::ScalarType dtype, at::Device device, MissingHead missing_head,
                                    std::uint64_t seed, std::optional<Pooling> pooling, Log& log);

struct LoadedLanguageModel {
  Model model;
  CheckpointConfig config;
};
LoadedLanguageModel load_language_model(const std::string& directory, at::ScalarType dtype, at::Device device, Log& log);

enum class SaveDType { float32, bfloat16, float16 };
template <>
struct EnumNames<SaveDType> {
  static constexpr std::pair<SaveDType, const char*> values[] = {
      {SaveDType::float32, "float32"}, {SaveDType::bfloat16, "bfloat16"}, {SaveDType::float16, "float16"}};
};

// Writes a reward model that `transformers` loads as *ForSequenceClassification with one label and scores the same: config.json,
// model.safetensors (shards of up to 5 GB), and the tokenizer's files copied from `config.directory`. `directory` must exist; weights are
// any float type. The pad token is that of `reward_model`.
void save_reward_model(const std::string& directory, const RewardModel& reward_model, const CheckpointConfig& config, SaveDType dtype);

}  // namespace metarm
