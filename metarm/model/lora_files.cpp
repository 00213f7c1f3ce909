#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/model/lora.h"
#include "metarm/model/tensor_files.h"
#include "metarm/model/tensor_layout.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kPrefix = "base_model.model.";

// PEFT knows a module's rows in the checkpoint's order; only GPT-NeoX's differs from ours. Conv1D's transposition does not reach A and B.
TensorName row_layout(const LoraModule& module, const std::string& name) {
  TensorName layout = module.weight;
  layout.name = name;
  layout.row_begin = 0;
  layout.row_end = module.out;
  if (layout.layout == Layout::transposed) layout.layout = Layout::same;
  return layout;
}

Json adapter_config(const RewardModel& reward_model, const Lora& lora, const CheckpointConfig& base) {
  std::set<std::string> targets;
  for (const LoraModule& module : lora.modules) targets.insert(module.name.substr(module.name.rfind('.') + 1));
  Json json = {{"peft_type", "LORA"},
               {"task_type", "SEQ_CLS"},
               {"base_model_name_or_path", fs::absolute(base.directory).lexically_normal().string()},
               {"r", lora.options.rank},
               {"lora_alpha", lora.options.alpha},
               {"lora_dropout", 0.0},
               {"bias", "none"},
               {"fan_in_fan_out", base.spec.family == Family::gpt2},
               {"target_modules", targets},
               {"modules_to_save", {"score"}},
               {"inference_mode", true}};
  if (reward_model.pad_token_id) json["metarm_pad_token_id"] = *reward_model.pad_token_id;
  if (reward_model.pooling == Pooling::last) json["metarm_pooling"] = "last";
  if (base.json.contains("metarm_chat_template")) json["metarm_chat_template"] = base.json["metarm_chat_template"];
  return json;
}

LoraOptions parse_adapter_config(const Json& json, const std::string& where) {
  LoraOptions options;
  if (text_field(json, "peft_type", where) != "LORA") fail_input("{}: peft_type: expected LORA, got {}", where, json["peft_type"].dump());
  for (const char* unsupported : {"use_dora", "use_rslora", "rank_pattern", "alpha_pattern"})
    if (json.contains(unsupported) && json[unsupported].is_primitive() ? json[unsupported] == true
                                                                       : json.contains(unsupported) && !json[unsupported].empty())
      fail_input("{}: {}: expected a plain LoRA adapter, got {}", where, unsupported, json[unsupported].dump());
  options.rank = static_cast<std::int64_t>(number_field(json, "r", where));
  options.alpha = number_field(json, "lora_alpha", where);
  if (options.rank < 1) fail_input("{}: r: expected at least 1, got {}", where, options.rank);
  return options;
}

// The modules for which the file has adapters, however target_modules describes them.
Lora list_adapted(const ModelSpec& spec, const LoraOptions& options, const TensorFiles& files) {
  Lora lora = make_lora(spec, options);
  std::set<std::string> known = {std::string(kPrefix) + "score.weight"};
  std::erase_if(lora.modules, [&](const LoraModule& module) {
    const std::string a = kPrefix + module.name + ".lora_A.weight", b = kPrefix + module.name + ".lora_B.weight";
    known.insert({a, b});
    return !files.contains(a) && !files.contains(b);
  });
  for (const std::string& name : files.names())
    if (!known.contains(name)) fail_input("{}: expected adapters of linear layers and score.weight only, got one more", files.where(name));
  return lora;
}

}  // namespace

void check_adapter_base(const CheckpointConfig& base) {
  if (base.new_pad && base.new_pad->added)
    fail_input(
        "{}: expected a checkpoint with a pad token for an adapter, got none, and an adapter cannot add one; merge the adapter "
        "(--merge-lora true)",
        base.directory);
}

void save_adapter(const std::string& directory, const RewardModel& reward_model, const Lora& lora, const CheckpointConfig& base) {
  const at::NoGradGuard no_grad;
  check_adapter_base(base);
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < lora.modules.size(); ++i) {
    const LoraModule& module = lora.modules[i];
    const LowRankUpdate& update = reward_model.model.updates[i];
    const std::string b_name = kPrefix + module.name + ".lora_B.weight";
    tensors.push_back({kPrefix + module.name + ".lora_A.weight", update.a.sizes().vec(), [update] { return update.a.detach(); }});
    tensors.push_back({b_name, update.b.sizes().vec(),
                       [&base, module, update, b_name] { return copy_to_checkpoint(base.spec, row_layout(module, b_name), update.b); }});
  }
  const at::Tensor score = reward_model.model.weights.at(Slot::score);
  tensors.push_back({std::string(kPrefix) + "score.weight", score.sizes().vec(), [score] { return score.detach(); }});
  save_tensor_file((fs::path(directory) / "adapter_model.safetensors").string(), tensors, at::kFloat);
  copy_tokenizer_files(base.directory, directory, base.new_pad);
  write_file((fs::path(directory) / "adapter_config.json").string(), adapter_config(reward_model, lora, base).dump(2) + "\n");
}

bool is_adapter(const std::string& directory) { return fs::exists(fs::path(directory) / "adapter_config.json"); }

LoadedRewardModel load_adapter(const std::string& directory, at::ScalarType dtype, at::Device device, std::optional<Pooling> pooling,
                               Log& log) {
  const at::NoGradGuard no_grad;
  const std::string where = (fs::path(directory) / "adapter_config.json").string();
  const Json json = load_json(where);
  const fs::path named = text_field(json, "base_model_name_or_path", where);
  const std::string base = (named.is_absolute() ? named : fs::path(directory) / named).string();
  LoadedRewardModel loaded =
      with_context(where, [&] { return load_reward_model(base, dtype, device, MissingHead::initialise, 0, pooling, log); });
  const TensorFiles files = TensorFiles::open_file((fs::path(directory) / "adapter_model.safetensors").string());
  const Lora lora = list_adapted(loaded.config.spec, parse_adapter_config(json, where), files);
  FlatTensors tensors = make_lora_tensors(lora, loaded.reward_model.model.weights, 0);
  const auto read = [&](const TensorName& name, const at::Tensor& target) {
    const at::Tensor source = files.float_tensor(name.name);
    if (source.sizes() != target.sizes())
      fail_input("{}: expected shape {}, got {}", files.where(name.name), fmt::format("[{}]", fmt::join(target.sizes().vec(), ", ")),
                 fmt::format("[{}]", fmt::join(source.sizes().vec(), ", ")));
    copy_from_checkpoint(loaded.config.spec, name, source, target);
  };
  for (std::size_t i = 0; i < lora.modules.size(); ++i) {
    const LoraModule& module = lora.modules[i];
    read({kPrefix + module.name + ".lora_A.weight", module.weight.slot, 0, 0, lora.options.rank, Layout::same}, tensors.tensor(2 * i));
    read(row_layout(module, kPrefix + module.name + ".lora_B.weight"), tensors.tensor(2 * i + 1));
  }
  read({std::string(kPrefix) + "score.weight", Slot::score, 0, 0, 1, Layout::same}, tensors.tensor(tensors.size() - 1));

  std::vector<at::Tensor> views;
  for (std::size_t i = 0; i < tensors.size(); ++i) views.push_back(tensors.tensor(i).to(dtype));
  attach_lora(loaded.reward_model, lora, views);
  merge_lora(loaded.reward_model.model);
  if (json.contains("metarm_pad_token_id")) loaded.reward_model.pad_token_id = json["metarm_pad_token_id"].get<std::int64_t>();
  if (!pooling && json.value("metarm_pooling", Json()) == "last") loaded.reward_model.pooling = Pooling::last;
  loaded.new_head = false;
  return loaded;
}

}  // namespace metarm
