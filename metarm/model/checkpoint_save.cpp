#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/tensor_files.h"
#include "metarm/model/tensor_layout.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kShardBytes = 5'000'000'000;

at::ScalarType scalar_type(SaveDType dtype) {
  switch (dtype) {
    case SaveDType::float32: return at::kFloat;
    case SaveDType::bfloat16: return at::kBFloat16;
    case SaveDType::float16: return at::kHalf;
  }
  fail_internal("unknown type to save");
}

// What both kinds of model change in the configuration they were loaded with.
Json common_config(const CheckpointConfig& config, const char* architecture, SaveDType dtype) {
  Json json = config.json;
  json["architectures"] = {architecture};
  json["model_type"] = family_names(config.spec.family).model_type;
  json["vocab_size"] = config.spec.vocab_size;
  for (const char* dropped : {"auto_map", "dtype"}) json.erase(dropped);
  json["torch_dtype"] = enum_name(dtype);
  return json;
}

Json reward_config(const RewardModel& reward_model, const CheckpointConfig& config, SaveDType dtype) {
  Json json = common_config(config, family_names(config.spec.family).reward_architecture, dtype);
  const std::string label = reward_label(config);
  json["id2label"] = {{"0", label}};
  json["label2id"] = {{label, 0}};
  if (reward_model.pad_token_id) json["pad_token_id"] = *reward_model.pad_token_id;
  for (const char* dropped : {"num_labels", "value_head_prefix", "metarm_pooling", "pooling"}) json.erase(dropped);
  if (reward_model.pooling == Pooling::last) json["metarm_pooling"] = "last";
  return json;
}

Json language_config(const CheckpointConfig& config, SaveDType dtype) {
  Json json = common_config(config, family_names(config.spec.family).causal_architecture, dtype);
  json["tie_word_embeddings"] = config.spec.tied_embeddings;
  return json;
}

std::vector<NamedTensor> name_tensors(const Weights& weights, const CheckpointConfig& config, HeadKind head) {
  std::vector<NamedTensor> tensors;
  for (const TensorName& name : list_tensor_names(config.spec, head)) {
    const at::Tensor slot = weights.at(name.slot, name.layer);
    tensors.push_back({name.name, checkpoint_shape(name, slot.sizes().vec()),
                       [&config, name, slot] { return copy_to_checkpoint(config.spec, name, slot); }});
  }
  return tensors;
}

// config.json comes last: a directory that has one holds a finished model.
void write_directory(const std::string& directory, const std::vector<NamedTensor>& tensors, const CheckpointConfig& config, SaveDType dtype,
                     const Json& json) {
  const at::NoGradGuard no_grad;
  save_tensor_files(directory, tensors, scalar_type(dtype), kShardBytes);
  copy_tokenizer_files(config.tokenizer_directory, directory, config.new_pad);
  write_file((fs::path(directory) / "config.json").string(), json.dump(2) + "\n");
}

}  // namespace

void save_reward_model(const std::string& directory, const RewardModel& reward_model, const CheckpointConfig& config, SaveDType dtype) {
  const Weights& weights = reward_model.model.weights;
  if (weights.at(Slot::score_bias).defined()) fail_internal("save_reward_model: expected a head without a bias");
  std::vector<NamedTensor> tensors = name_tensors(weights, config, HeadKind::reward);
  const at::Tensor score = weights.at(Slot::score);
  tensors.push_back({"score.weight", score.sizes().vec(), [score] { return score.detach(); }});
  write_directory(directory, tensors, config, dtype, reward_config(reward_model, config, dtype));
}

void save_language_model(const std::string& directory, const Model& model, const CheckpointConfig& config, SaveDType dtype) {
  const fs::path generation = fs::path(config.directory) / "generation_config.json";
  if (fs::exists(generation)) write_file((fs::path(directory) / generation.filename()).string(), read_file(generation.string()));
  write_directory(directory, name_tensors(model.weights, config, HeadKind::language_model), config, dtype, language_config(config, dtype));
}

}  // namespace metarm
