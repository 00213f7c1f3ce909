// LoRA (arXiv 2106.09685): frozen weights W plus scale · B A of a small rank, with scale = alpha / rank. A reward model's head is trained
// whole beside it. Adapters are written in PEFT's format.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "metarm/model/checkpoint.h"
#include "metarm/model/reward_model.h"

namespace metarm {

struct LoraOptions {
  std::int64_t rank = 0;  // 0: no LoRA, all weights are trained
  double alpha = 16;
  // Module names as the checkpoint has them, short (q_proj) or whole (model.layers.0.self_attn.q_proj), or all-linear.
  std::vector<std::string> targets = {"all-linear"};
  std::int64_t layers = 0;  // the last so many layers have adapters; 0: all
};

// A linear layer as the checkpoint names it, and its rows of a slot.
struct LoraModule {
  std::string name;  // model.layers.0.self_attn.q_proj
  TensorName weight;
  std::int64_t in, out;
  std::string short_name() const { return name.substr(name.rfind('.') + 1); }  // q_proj
};

struct Lora {
  LoraOptions options;
  std::vector<LoraModule> modules;
  double scale() const { return options.alpha / static_cast<double>(options.rank); }
};

// Input error for a target that names no linear layer, listing those there are, and for more layers than the model has.
Lora make_lora(const ModelSpec& spec, const LoraOptions& options);
std::set<std::string> short_names(const Lora& lora);
bool same_modules(const Lora& a, const Lora& b);

// The trainable tensors, float32: lora_A [rank, in] uniform in ±1/sqrt(in) (seeded) and lora_B [out, rank] zero for each module, then a
// reward model's head, which begins as `head` (undefined: a language model).
FlatTensors make_lora_tensors(const Lora& lora, const at::Tensor& head, at::Device device, std::uint64_t seed);
// Makes the model compute with `tensors` (in the order of make_lora_tensors) over its own weights.
void attach_lora(Model& model, const Lora& lora, const std::vector<at::Tensor>& tensors);
// Adds the updates of `tensors` to the weights and puts their head in its place: as attach_lora, for good.
void merge_lora(Model& model, const Lora& lora, const std::vector<at::Tensor>& tensors);

// Input error where a base cannot carry an adapter: it is one itself, or of a reward model, its head has a bias, or it needs a token that
// the vocabulary lacks. Warns where PEFT, which knows the base's config.json only, will read rewards at another token.
void check_adapter_base(const std::string& directory);
void check_adapter_base(const std::string& directory, const LoadedRewardModel& base, Log& log);
// adapter_config.json and adapter_model.safetensors, with the tokenizer's files. The model has the adapters attached.
void save_reward_adapter(const std::string& directory, const RewardModel& reward_model, const Lora& lora, const CheckpointConfig& base);
void save_language_adapter(const std::string& directory, const Model& model, const Lora& lora, const CheckpointConfig& base);

bool is_adapter(const std::string& directory);
// The folder that an adapter's base_model_name_or_path names; relative paths are from the adapter's folder.
std::string adapter_base(const std::string& directory);
// An adapter over its base, merged. Pad token and chat template are those that the adapter remembers, the tokenizer is its own where it
// has one.
LoadedRewardModel load_reward_adapter(const std::string& directory, at::ScalarType dtype, at::Device device, std::optional<Pooling> pooling,
                                      Log& log);
// An adapter and its base apart, to go on with the adapter: what load_reward_adapter merges, with the adapter's pad token and head.
struct AdapterApart {
  LoadedRewardModel base;
  Lora lora;                        // its options make it anew
  std::vector<at::Tensor> tensors;  // float32, in the order of make_lora_tensors
};
AdapterApart load_adapter_apart(const std::string& directory, at::ScalarType dtype, at::Device device, std::optional<Pooling> pooling,
                                Log& log);
// The adapters of a reward model's adapter over a model of `spec`, without their numbers: whatever adapter_config.json says of modules, the
// options make the same ones.
Lora read_lora(const std::string& directory, const ModelSpec& spec);
// Its reward head, float32. Input error where it has none.
at::Tensor load_adapter_head(const std::string& directory);
LoadedLanguageModel load_language_adapter(const std::string& directory, at::ScalarType dtype, at::Device device, Log& log);
// A reward model's adapter without merging, in the compute type over the base's own tensors: that base is one of `bases`, or is added to
// them.
struct AdapterBase {
  std::string directory;
  std::optional<Pooling> pooling;
  LoadedRewardModel loaded;
};
LoadedRewardModel load_unmerged_adapter(const std::string& directory, at::ScalarType dtype, at::Device device,
                                        std::optional<Pooling> pooling, std::vector<AdapterBase>& bases, Log& log);

}  // namespace metarm
