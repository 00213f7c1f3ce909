#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/lora.h"
#include "metarm/model/tensor_files.h"
#include "metarm/model/tensor_layout.h"

namespace metarm {

namespace {

// Where a checkpoint keeps its reward head: transformers and OpenRLHF (score), older OpenRLHF (value_head), UltraRM (regression_head),
// Starling (v_head), Beaver (score_head), OASST (out_proj).
constexpr const char* kHeadNames[] = {"score", "value_head", "regression_head", "v_head", "score_head", "out_proj"};

std::optional<std::string> find_head(const TensorFiles& files, const Json& config) {
  if (config.contains("value_head_prefix") && config["value_head_prefix"].is_string()) {
    const std::string prefix = config["value_head_prefix"];
    if (files.contains(prefix + ".weight")) return prefix;
  }
  for (const char* name : kHeadNames)
    if (files.contains(std::string(name) + ".weight")) return name;
  return std::nullopt;
}

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> ends) {
  for (std::string_view end : ends)
    if (name.size() >= end.size() && std::string_view(name).substr(name.size() - end.size()) == end) return true;
  return false;
}

// Buffers that older checkpoints carry and no forward pass needs; LM heads where there is no use for one.
bool is_ignorable(const std::string& name) {
  return ends_with_any(name, {"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
                              "lm_head.weight", "embed_out.weight"});
}

class Loader {
 public:
  Loader(const CheckpointConfig& config, const TensorFiles& files) : config_(config), files_(files) {}

  // Every backbone tensor (and LM head) into `weights`; every tensor of the files must be used, ignorable, or one of `others`.
  void load(Weights& weights, HeadKind head, std::set<std::string> others) {
    std::vector<TensorName> names = list_tensor_names(config_.spec, head);
    apply_prefix(names);
    for (TensorName& name : names) {
      if (name.slot == Slot::token_embedding || name.slot == Slot::lm_head) name.row_end = stored_rows(name);
      copy(name, weights.at(name.slot, name.layer));
      others.insert(name.name);
    }
    for (const std::string& name : files_.names())
      if (!others.contains(name) && !is_ignorable(name))
        fail_input("{}: expected only the tensors of a {} checkpoint (such as {}), got one more", files_.where(name), family().model_type,
                   names.front().name);
  }

  // The row vector of a reward head.
  void load_head(const std::string& head, Weights& weights) {
    copy({head + ".weight", Slot::score, 0, 0, 1, Layout::same}, weights.at(Slot::score));
    if (weights.at(Slot::score_bias).defined())
      copy({head + ".bias", Slot::score_bias, 0, 0, 1, Layout::same}, weights.at(Slot::score_bias));
  }

 private:
  const FamilyNames& family() const { return family_names(config_.spec.family); }

  // Backbones come with the family's prefix, bare (GPT-2's first release), or under a trainer's own (Starling).
  void apply_prefix(std::vector<TensorName>& names) const {
    const std::string usual = family().prefix;
    const std::string embedding = names.front().name.substr(usual.size());
    for (const std::string& prefix : {usual, std::string(), std::string("transformer."), std::string("model."), "model." + usual}) {
      if (!files_.contains(prefix + embedding)) continue;
      for (TensorName& name : names)
        if (name.name.starts_with(usual)) name.name = prefix + name.name.substr(usual.size());
      return;
    }
  }

  // A new pad token may have given the embedding a row more than the checkpoint has.
  std::int64_t stored_rows(const TensorName& name) const {
    const std::int64_t rows = files_.contains(name.name) ? files_.float_tensor(name.name).size(0) : name.row_end;
    return config_.new_pad && config_.new_pad->added && rows == name.row_end - 1 ? rows : name.row_end;
  }

  void copy(const TensorName& name, const at::Tensor& slot) {
    const at::Tensor source = files_.float_tensor(name.name);
    const std::vector<std::int64_t> expected = checkpoint_shape(name, slot);
    if (source.sizes() != at::IntArrayRef(expected))
      fail_input("{}: expected shape [{}], got [{}]; config.json and weights do not belong together", files_.where(name.name),
                 fmt::join(expected, ", "), fmt::join(source.sizes().vec(), ", "));
    copy_from_checkpoint(config_.spec, name, source, slot);
    if (!at::isfinite(slot).all().item<bool>()) fail_input("{}: expected finite weights, got NaN or infinity", files_.where(name.name));
  }

  const CheckpointConfig& config_;
  const TensorFiles& files_;
};

void initialise_head(const Weights& weights, std::int64_t width, std::uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(derive_seed(seed, "reward head"));
  const double deviation = 1.0 / std::sqrt(static_cast<double>(width + 1));
  weights.at(Slot::score).copy_(at::empty({1, width}, at::kFloat).normal_(0.0, deviation, generator));
}

void choose_new_pad(CheckpointConfig& config) {
  const PadToken pad = choose_pad_token(Tokenizer::load(config.directory));
  if (pad.added && pad.id >= config.spec.vocab_size) config.spec.vocab_size = pad.id + 1;
  config.pad_token_id = pad.id;
  config.new_pad = pad;
}

Pooling stored_pooling(const CheckpointConfig& config) {
  return config.json.value("metarm_pooling", Json()) == "last" ? Pooling::last : Pooling::last_not_pad;
}

[[noreturn]] void fail_without_head(const CheckpointConfig& config) {
  if (config.head == HeadKind::language_model)
    fail_input("{}: expected a reward model, got a causal language model; `metarm train` makes a reward model of it", config.directory);
  fail_input("{}: expected a reward head (score.weight, or {} of other trainers), got none; without it rewards would be random",
             config.directory, fmt::join(std::begin(kHeadNames) + 1, std::end(kHeadNames), ", "));
}

}  // namespace

LoadedRewardModel load_reward_model(const std::string& directory, at::ScalarType dtype, at::Device device, MissingHead missing_head,
                                    std::uint64_t seed, std::optional<Pooling> pooling, Log& log) {
  const at::NoGradGuard no_grad;
  if (is_adapter(directory)) return load_adapter(directory, dtype, device, pooling, log);
  LoadedRewardModel loaded;
  loaded.config = load_checkpoint_config(directory);
  CheckpointConfig& config = loaded.config;
  const TensorFiles files = TensorFiles::open(directory);
  const std::optional<std::string> head = find_head(files, config.json);
  loaded.new_head = !head;
  if (!head && (config.head == HeadKind::reward || missing_head == MissingHead::fail)) fail_without_head(config);
  if (!head) choose_new_pad(config);

  const bool bias = head && files.contains(*head + ".bias");
  Weights weights(config.spec, HeadKind::reward, bias, dtype, device);
  Loader loader(config, files);
  loader.load(weights, HeadKind::reward, head ? std::set<std::string>{*head + ".weight", *head + ".bias"} : std::set<std::string>{});
  if (head)
    loader.load_head(*head, weights);
  else
    initialise_head(weights, config.spec.width, seed);

  RewardModel& reward_model = loaded.reward_model;
  reward_model.model = {config.spec, std::move(weights), {}};
  reward_model.pooling = pooling.value_or(stored_pooling(config));
  reward_model.pad_token_id = config.pad_token_id;
  if (reward_model.pooling == Pooling::last_not_pad && config.pad_token_id && config.pad_token_id == config.eos_token_id)
    log.warn(
        fmt::format("{}: pad_token_id is the end token ({}): rewards are read at the token before it, as transformers does; --pooling last "
                    "reads the last token",
                    directory, *config.pad_token_id));
  return loaded;
}

LoadedLanguageModel load_language_model(const std::string& directory, at::ScalarType dtype, at::Device device, Log&) {
  const at::NoGradGuard no_grad;
  LoadedLanguageModel loaded;
  loaded.config = load_checkpoint_config(directory);
  if (loaded.config.head != HeadKind::language_model)
    fail_input("{}: expected a causal language model, got {}", directory, loaded.config.json["architectures"][0].get<std::string>());
  const TensorFiles files = TensorFiles::open(directory);
  Weights weights(loaded.config.spec, HeadKind::language_model, false, dtype, device);
  Loader(loaded.config, files).load(weights, HeadKind::language_model, {});
  loaded.model = {loaded.config.spec, std::move(weights), {}};
  return loaded;
}

}  // namespace metarm
