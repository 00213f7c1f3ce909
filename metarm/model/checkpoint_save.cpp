#include <ATen/ATen.h>

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/tensor_files.h"
#include "metarm/model/tensor_layout.h"

namespace metarm {

namespace {

constexpr std::int64_t kShardBytes = 5'000'000'000;

at::ScalarType scalar_type(SaveDType dtype) {
  switch (dtype) {
    case SaveDType::float32: return at::kFloat;
    case SaveDType::bfloat16: return at::kBFloat16;
    case SaveDType::float16: return at::kHalf;
  }
  fail_internal("unknown type to save");
}

Json reward_config(const RewardModel& reward_model, const CheckpointConfig& config, SaveDType dtype) {
  Json json = config.json;
  const FamilyNames& family = family_names(config.spec.family);
  json["architectures"] = {family.reward_architecture};
  json["model_type"] = family.model_type;
  json["id2label"] = {{"0", "LABEL_0"}};
  json["label2id"] = {{"LABEL_0", 0}};
  json["vocab_size"] = config.spec.vocab_size;
  if (reward_model.pad_token_id) json["pad_token_id"] = *reward_model.pad_token_id;
  for (const char* dropped : {"num_labels", "auto_map", "value_head_prefix", "torch_dtype", "dtype", "metarm_pooling", "pooling"})
    json.erase(dropped);
  json["torch_dtype"] = enum_name(dtype);
  if (reward_model.pooling == Pooling::last) json["metarm_pooling"] = "last";
  return json;
}

}  // namespace

void save_reward_model(const std::string& directory, const RewardModel& reward_model, const CheckpointConfig& config, SaveDType dtype) {
  const Weights& weights = reward_model.model.weights;
  std::vector<NamedTensor> tensors;
  for (const TensorName& name : list_tensor_names(config.spec, HeadKind::reward)) {
    const at::Tensor slot = weights.at(name.slot, name.layer);
    tensors.push_back({name.name, checkpoint_shape(name, slot.sizes().vec()),
                       [&config, name, slot] { return copy_to_checkpoint(config.spec, name, slot); }});
  }
  if (weights.at(Slot::score_bias).defined()) fail_internal("save_reward_model: expected a head without a bias");
  const at::Tensor score = weights.at(Slot::score);
  tensors.push_back({"score.weight", score.sizes().vec(), [score] { return score.detach(); }});
  const at::NoGradGuard no_grad;
  save_tensor_files(directory, tensors, scalar_type(dtype), kShardBytes);
  copy_tokenizer_files(config.tokenizer_directory, directory, config.new_pad);
  write_file((std::filesystem::path(directory) / "config.json").string(), reward_config(reward_model, config, dtype).dump(2) + "\n");
}

}  // namespace metarm
