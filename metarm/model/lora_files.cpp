#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
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
constexpr const char* kHead = "base_model.model.score.weight";
constexpr const char* kMergeHint = "merge the adapter (--merge-lora true)";

std::string config_path(const std::string& directory) { return (fs::path(directory) / "adapter_config.json").string(); }

// PEFT knows a module's rows in the checkpoint's order; only GPT-NeoX's differs from ours. Conv1D's transposition does not reach A and B.
TensorName row_layout(const LoraModule& module, const std::string& name) {
  TensorName layout = module.weight;
  layout.name = name;
  layout.row_begin = 0;
  layout.row_end = module.out;
  if (layout.layout == Layout::transposed) layout.layout = Layout::same;
  return layout;
}

Json adapter_config(const char* task, const Lora& lora, const CheckpointConfig& base) {
  const bool all_linear = lora.options.targets == LoraOptions{}.targets;
  const std::set<std::string> targets =
      all_linear ? short_names(lora) : std::set<std::string>(lora.options.targets.begin(), lora.options.targets.end());
  Json json = {{"peft_type", "LORA"},
               {"task_type", task},
               {"base_model_name_or_path", fs::absolute(base.directory).lexically_normal().string()},
               {"r", lora.options.rank},
               {"lora_alpha", lora.options.alpha},
               {"lora_dropout", 0.0},
               {"bias", "none"},
               {"fan_in_fan_out", base.spec.family == Family::gpt2},
               {"target_modules", targets},
               {"inference_mode", true}};
  if (lora.options.layers > 0)
    for (std::int64_t layer = base.spec.layers - lora.options.layers; layer < base.spec.layers; ++layer)
      json["layers_to_transform"].push_back(layer);
  if (base.json.contains("metarm_chat_template")) json["metarm_chat_template"] = base.json["metarm_chat_template"];
  return json;
}

bool is_off(const Json& json, const char* field) {
  if (!json.contains(field)) return true;
  const Json& value = json[field];
  return value.is_primitive() ? value.is_null() || value == false : value.empty();
}

// PiSSA, OLoRA, CorDA and LoftQ change the base's weights, too, so that their A and B say nothing without the same initialisation.
void check_initialisation(const Json& json, const std::string& where) {
  const Json value = json.value("init_lora_weights", Json(true));
  if (!value.is_boolean() && !value.is_null() && value != "gaussian" && value != "eva" && value != "orthogonal")
    fail_input("{}: init_lora_weights: expected true, false, gaussian, eva or orthogonal, got {}; merge the adapter with PEFT first", where,
               value.dump());
}

// Layers to which PEFT applies the adapters; empty: all.
std::set<std::int64_t> parse_layers(const Json& json, const std::string& where) {
  std::set<std::int64_t> layers;
  if (is_off(json, "layers_to_transform")) return layers;
  const Json& value = json["layers_to_transform"];
  for (const Json& layer : value.is_array() ? value : Json::array({value})) {
    if (!layer.is_number_integer())
      fail_input("{}: layers_to_transform: expected a layer's number or a list of some, got {}", where, value.dump());
    layers.insert(layer.get<std::int64_t>());
  }
  return layers;
}

LoraOptions parse_adapter_config(const Json& json, const std::string& where) {
  LoraOptions options;
  if (text_field(json, "peft_type", where) != "LORA") fail_input("{}: peft_type: expected LORA, got {}", where, json["peft_type"].dump());
  for (const char* unsupported : {"use_dora", "use_rslora", "use_qalora", "rank_pattern", "alpha_pattern", "layer_replication",
                                  "alora_invocation_tokens", "trainable_token_indices"})
    if (!is_off(json, unsupported))
      fail_input("{}: {}: expected a plain LoRA adapter, got {}", where, unsupported, json[unsupported].dump());
  check_initialisation(json, where);
  const double rank = number_field(json, "r", where);
  if (!(rank >= 1) || rank > 1e6 || rank != std::floor(rank))
    fail_input("{}: r: expected a whole number from 1, got {}", where, json["r"].dump());
  options.rank = static_cast<std::int64_t>(rank);
  options.alpha = number_field(json, "lora_alpha", where);
  return options;
}

// Targets and layers that make the same modules: names that they have in the last layers, where that is what they are, or each by its name.
LoraOptions describe(const ModelSpec& spec, const Lora& lora) {
  LoraOptions options = lora.options;
  std::int64_t first = spec.layers;
  for (const LoraModule& module : lora.modules) first = std::min(first, module.weight.layer);
  options.layers = first > 0 && first < spec.layers ? spec.layers - first : 0;
  if (same_modules(make_lora(spec, options), lora)) return options;
  const std::set<std::string> names = short_names(lora);
  options.targets = {names.begin(), names.end()};
  if (same_modules(make_lora(spec, options), lora)) return options;
  options.layers = 0;
  options.targets.clear();
  for (const LoraModule& module : lora.modules) options.targets.push_back(module.name);
  return options;
}

// The modules for which the file has adapters, however target_modules describes them. `layers`: those that may have some; empty: all.
Lora list_adapted(const ModelSpec& spec, const LoraOptions& options, const std::set<std::int64_t>& layers, const TensorFiles& files,
                  bool has_head) {
  Lora lora = make_lora(spec, options);
  std::set<std::string> known;
  if (has_head) known.insert(kHead);
  std::erase_if(lora.modules, [&](const LoraModule& module) {
    const std::string a = kPrefix + module.name + ".lora_A.weight", b = kPrefix + module.name + ".lora_B.weight";
    known.insert({a, b});
    return !files.contains(a) && !files.contains(b);
  });
  for (const std::string& name : files.names())
    if (!known.contains(name))
      fail_input("{}: expected adapters of linear layers{} only, got one more", files.where(name), has_head ? " and score.weight" : "");
  for (const LoraModule& module : lora.modules)
    if (!layers.empty() && !layers.contains(module.weight.layer))
      fail_input("{}: layers_to_transform: expected the layers of the adapters, got {} without {}, which has some",
                 files.where(module.name), fmt::join(layers, ", "), module.weight.layer);
  lora.options = describe(spec, lora);
  return lora;
}

TensorFiles open_adapter(const std::string& directory) {
  return TensorFiles::open_file((fs::path(directory) / "adapter_model.safetensors").string());
}

void check_shape(const TensorFiles& files, const std::string& name, const std::vector<std::int64_t>& expected) {
  const at::Tensor source = files.float_tensor(name);
  if (source.sizes() != at::IntArrayRef(expected))
    fail_input("{}: expected shape [{}], got [{}]", files.where(name), fmt::join(expected, ", "), fmt::join(source.sizes().vec(), ", "));
  if (!at::isfinite(source).all().item<bool>()) fail_input("{}: expected finite weights, got NaN or infinity", files.where(name));
}

// In the order of make_lora_tensors; `head`: the base's, undefined for a language model. All is checked before memory is taken.
std::vector<at::Tensor> read_adapter(const Model& base, const at::Tensor& head, const Lora& lora, const TensorFiles& files) {
  for (const LoraModule& module : lora.modules) {
    check_shape(files, kPrefix + module.name + ".lora_A.weight", {lora.options.rank, module.in});
    check_shape(files, kPrefix + module.name + ".lora_B.weight", {module.out, lora.options.rank});
  }
  if (head.defined()) check_shape(files, kHead, {1, base.spec.width});
  const FlatTensors flat = make_lora_tensors(lora, head, base.weights.at(Slot::token_embedding).device(), 0);
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < flat.size(); ++i) tensors.push_back(flat.tensor(i));
  for (std::size_t i = 0; i < lora.modules.size(); ++i) {
    const LoraModule& module = lora.modules[i];
    const TensorName b = row_layout(module, kPrefix + module.name + ".lora_B.weight");
    tensors[2 * i].copy_(files.float_tensor(kPrefix + module.name + ".lora_A.weight"));
    copy_from_checkpoint(base.spec, b, files.float_tensor(b.name), tensors[2 * i + 1]);
  }
  if (head.defined()) tensors.back().copy_(files.float_tensor(kHead));
  return tensors;
}

Json load_config(const std::string& path) {
  Json json = load_json(path);
  if (!json.is_object()) fail_input("{}: expected an object, got {}", path, json_type_name(json));
  return json;
}

void check_has_head(const std::string& directory, const TensorFiles& files) {
  if (!files.contains(kHead))
    fail_input(
        "{}: expected the adapter of a reward model, with a reward head, got one without; a language model's is to be merged into "
        "its base first",
        directory);
}

struct AdapterTensors {
  Lora lora;
  std::vector<at::Tensor> tensors;  // in the order of make_lora_tensors, float32
};

// What comes with adapters of both kinds, over `model`; `head`: the base's reward head, undefined for a language model.
AdapterTensors load_adapter(const std::string& directory, const Json& json, const LoraOptions& options, const Model& model,
                            const at::Tensor& head, CheckpointConfig& config) {
  if (json.contains("metarm_chat_template")) config.json["metarm_chat_template"] = json["metarm_chat_template"];
  if (fs::exists(fs::path(directory) / "tokenizer.json")) config.tokenizer_directory = directory;
  const TensorFiles files = open_adapter(directory);
  if (head.defined()) check_has_head(directory, files);
  Lora lora = list_adapted(model.spec, options, parse_layers(json, config_path(directory)), files, head.defined());
  std::vector<at::Tensor> tensors = read_adapter(model, head, lora, files);
  return {std::move(lora), std::move(tensors)};
}

// The adapters that `model` has attached, with its head where it has one.
void write_adapter(const std::string& directory, const Model& model, const Lora& lora, const CheckpointConfig& base, const Json& config) {
  const at::NoGradGuard no_grad;
  std::vector<NamedTensor> tensors;
  for (std::size_t i = 0; i < lora.modules.size(); ++i) {
    const LoraModule& module = lora.modules[i];
    const LowRankUpdate& update = model.updates[i];
    const std::string b_name = kPrefix + module.name + ".lora_B.weight";
    tensors.push_back({kPrefix + module.name + ".lora_A.weight", update.a.sizes().vec(), [update] { return update.a.detach(); }});
    tensors.push_back({b_name, update.b.sizes().vec(),
                       [&base, module, update, b_name] { return copy_to_checkpoint(base.spec, row_layout(module, b_name), update.b); }});
  }
  const at::Tensor score = model.weights.at(Slot::score);
  if (score.defined()) tensors.push_back({kHead, score.sizes().vec(), [score] { return score.detach(); }});
  save_tensor_file((fs::path(directory) / "adapter_model.safetensors").string(), tensors, at::kFloat);
  copy_tokenizer_files(base.tokenizer_directory, directory, base.new_pad);
  write_file(config_path(directory), config.dump(2) + "\n");
}

}  // namespace

void check_adapter_base(const std::string& directory) {
  if (is_adapter(directory)) fail_input("{}: expected a whole checkpoint for an adapter, got an adapter; {}", directory, kMergeHint);
}

void check_adapter_base(const std::string& directory, const LoadedRewardModel& base, Log& log) {
  check_adapter_base(directory);
  if (base.config.new_pad && base.config.new_pad->added)
    fail_input("{}: expected a checkpoint with a pad token for an adapter, got none, and an adapter cannot add one; {}", directory,
               kMergeHint);
  if (base.reward_model.model.weights.at(Slot::score_bias).defined())
    fail_input("{}: expected a reward head without a bias for an adapter, got one, and an adapter has no place for it; {}", directory,
               kMergeHint);
  const auto pad = token_id_list(base.config.json, "pad_token_id", directory);
  if (base.reward_model.pad_token_id && !pad.empty() && pad.front() != *base.reward_model.pad_token_id)
    log.warn(
        fmt::format("{}: its pad_token_id is {}, the adapter's is {}: set config.pad_token_id to {} where PEFT loads the base, or {}, "
                    "for the same rewards there",
                    directory, pad.front(), *base.reward_model.pad_token_id, *base.reward_model.pad_token_id, kMergeHint));
}

void save_reward_adapter(const std::string& directory, const RewardModel& reward_model, const Lora& lora, const CheckpointConfig& base) {
  Json json = adapter_config("SEQ_CLS", lora, base);
  json["modules_to_save"] = {"score"};
  if (reward_model.pad_token_id) json["metarm_pad_token_id"] = *reward_model.pad_token_id;
  if (reward_model.pooling == Pooling::last) json["metarm_pooling"] = "last";
  write_adapter(directory, reward_model.model, lora, base, json);
}

void save_language_adapter(const std::string& directory, const Model& model, const Lora& lora, const CheckpointConfig& base) {
  write_adapter(directory, model, lora, base, adapter_config("CAUSAL_LM", lora, base));
}

bool is_adapter(const std::string& directory) { return fs::exists(config_path(directory)); }

std::string adapter_base(const std::string& directory) {
  const std::string where = config_path(directory);
  const fs::path named = text_field(load_config(where), "base_model_name_or_path", where);
  const std::string base = (named.is_absolute() ? named : fs::path(directory) / named).string();
  if (is_adapter(base)) fail_input("{}: base_model_name_or_path: expected a whole checkpoint, got another adapter, {}", where, base);
  return base;
}

namespace {

// What adapter_config.json says of a reward model's adapter, and the base that it names.
struct RewardAdapter {
  std::string directory, where, base;
  Json json;
  LoraOptions options;
  std::vector<std::int64_t> pad;
  std::optional<Pooling> pooling;
};

RewardAdapter read_reward_adapter(const std::string& directory, std::optional<Pooling> pooling) {
  RewardAdapter adapter{directory, config_path(directory), adapter_base(directory), {}, {}, {}, pooling};
  adapter.json = load_config(adapter.where);
  adapter.options = parse_adapter_config(adapter.json, adapter.where);
  adapter.pad = token_id_list(adapter.json, "metarm_pad_token_id", adapter.where);
  if (!pooling && adapter.json.value("metarm_pooling", Json()) == "last") adapter.pooling = Pooling::last;
  return adapter;
}

LoadedRewardModel load_base(const RewardAdapter& adapter, at::ScalarType dtype, at::Device device, Log& log) {
  return with_context(adapter.where,
                      [&] { return load_reward_model(adapter.base, dtype, device, MissingHead::zero, 0, adapter.pooling, log); });
}

// The adapter for `loaded`, its base, which takes what else the adapter's folder says.
AdapterTensors load_over(const RewardAdapter& adapter, LoadedRewardModel& loaded) {
  Model& model = loaded.reward_model.model;
  AdapterTensors adapters = load_adapter(adapter.directory, adapter.json, adapter.options, model, loaded.head, loaded.config);
  if (!adapter.pad.empty()) loaded.reward_model.pad_token_id = adapter.pad.front();
  loaded.head = adapters.tensors.back();
  model.weights.set(Slot::score_bias, 0, {});  // the adapter's head has none
  loaded.new_head = false;
  return adapters;
}

}  // namespace

LoadedRewardModel load_reward_adapter(const std::string& directory, at::ScalarType dtype, at::Device device, std::optional<Pooling> pooling,
                                      Log& log) {
  const at::NoGradGuard no_grad;
  const RewardAdapter adapter = read_reward_adapter(directory, pooling);
  LoadedRewardModel loaded = load_base(adapter, dtype, device, log);
  const AdapterTensors adapters = load_over(adapter, loaded);
  merge_lora(loaded.reward_model.model, adapters.lora, adapters.tensors);
  return loaded;
}

LoadedRewardModel load_unmerged_adapter(const std::string& directory, at::ScalarType dtype, at::Device device,
                                        std::optional<Pooling> pooling, std::vector<AdapterBase>& bases, Log& log) {
  const at::NoGradGuard no_grad;
  const RewardAdapter adapter = read_reward_adapter(directory, pooling);
  const std::string base = fs::weakly_canonical(adapter.base).string();
  auto found =
      std::ranges::find_if(bases, [&](const AdapterBase& other) { return other.directory == base && other.pooling == adapter.pooling; });
  if (found == bases.end()) found = bases.insert(found, AdapterBase{base, adapter.pooling, load_base(adapter, dtype, device, log)});
  LoadedRewardModel loaded = found->loaded;  // with the base's tensors
  const AdapterTensors adapters = load_over(adapter, loaded);
  std::vector<at::Tensor> tensors;
  for (const at::Tensor& tensor : adapters.tensors) tensors.push_back(tensor.to(dtype));
  attach_lora(loaded.reward_model.model, adapters.lora, tensors);
  return loaded;
}

AdapterApart load_adapter_apart(const std::string& directory, at::ScalarType dtype, at::Device device, std::optional<Pooling> pooling,
                                Log& log) {
  const at::NoGradGuard no_grad;
  const RewardAdapter adapter = read_reward_adapter(directory, pooling);
  LoadedRewardModel base = load_base(adapter, dtype, device, log);
  AdapterTensors adapters = load_over(adapter, base);
  return {std::move(base), std::move(adapters.lora), std::move(adapters.tensors)};
}

Lora read_lora(const std::string& directory, const ModelSpec& spec) {
  const RewardAdapter adapter = read_reward_adapter(directory, std::nullopt);
  return list_adapted(spec, adapter.options, parse_layers(adapter.json, adapter.where), open_adapter(directory), true);
}

at::Tensor load_adapter_head(const std::string& directory) {
  const at::NoGradGuard no_grad;
  const TensorFiles files = open_adapter(directory);
  check_has_head(directory, files);
  const at::Tensor head = files.float_tensor(kHead);
  if (!at::isfinite(head).all().item<bool>()) fail_input("{}: expected finite weights, got NaN or infinity", files.where(kHead));
  return at::empty(head.sizes(), at::kFloat).copy_(head);  // the files are closed
}

LoadedLanguageModel load_language_adapter(const std::string& directory, at::ScalarType dtype, at::Device device, Log& log) {
  const at::NoGradGuard no_grad;
  const std::string where = config_path(directory), base = adapter_base(directory);
  const Json json = load_config(where);
  const LoraOptions options = parse_adapter_config(json, where);
  LoadedLanguageModel loaded = with_context(where, [&] { return load_language_model(base, dtype, device, log); });
  const AdapterTensors adapters = load_adapter(directory, json, options, loaded.model, {}, loaded.config);
  merge_lora(loaded.model, adapters.lora, adapters.tensors);
  return loaded;
}

}  // namespace metarm
