#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "metarm/base/error.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/lora.h"
#include "metarm/model/reward_head.h"
#include "metarm/model/tensor_files.h"
#include "metarm/model/tensor_layout.h"

namespace metarm {

namespace {

bool ends_with_any(const std::string& name, std::initializer_list<std::string_view> ends) {
  for (std::string_view end : ends)
    if (name.size() >= end.size() && std::string_view(name).substr(name.size() - end.size()) == end) return true;
  return false;
}

// Buffers that older checkpoints (and Beaver's) carry and no forward pass needs; LM heads where there is no use for one.
bool is_ignorable(const std::string& name) {
  return ends_with_any(name, {"rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias",
                              "lm_head.weight", "embed_out.weight", "normalizer.mean", "normalizer.var", "normalizer.count"});
}

class Loader {
 public:
  // Every tensor of the backbone (and LM head) must be in the files, in its shape; every tensor of the files must be one of those,
  // ignorable, or one of `others`. Nothing is allocated here: sizes come from config.json, which may say anything.
  Loader(const CheckpointConfig& config, const TensorFiles& files, HeadKind head, std::set<std::string> others)
      : config_(config), files_(files), names_(list_tensor_names(config.spec, head)) {
    apply_prefix();
    std::map<std::pair<Slot, std::int64_t>, std::vector<std::int64_t>> shapes;
    for (const SlotInfo& slot : list_slots(config_.spec, head)) shapes[{slot.slot, slot.layer}] = slot.info.shape;
    for (TensorName& name : names_) {
      if (name.slot == Slot::token_embedding || name.slot == Slot::lm_head) name.row_end = stored_rows();
      check(name, shapes.at({name.slot, name.layer}));
      others.insert(name.name);
    }
    for (const std::string& name : files_.names())
      if (!others.contains(name) && !is_ignorable(name))
        fail_input("{}: expected only the tensors of a {} checkpoint (such as {}), got one more", files_.where(name), family().model_type,
                   names_.front().name);
  }

  void load(Weights& weights) const {
    for (const TensorName& name : names_) {
      const at::Tensor slot = weights.at(name.slot, name.layer);
      copy_from_checkpoint(config_.spec, name, files_.float_tensor(name.name), slot);
      if (!at::isfinite(slot).all().item<bool>()) fail_input("{}: expected finite weights, got NaN or infinity", files_.where(name.name));
    }
  }

 private:
  const FamilyNames& family() const { return family_names(config_.spec.family); }

  // Backbones come with the family's prefix, bare (GPT-2's first release), or under a trainer's own (Starling).
  void apply_prefix() {
    const std::string usual = family().prefix;
    const std::string embedding = names_.front().name.substr(usual.size());
    for (const std::string& prefix : {usual, std::string(), std::string("transformer."), std::string("model."), "model." + usual}) {
      if (!files_.contains(prefix + embedding)) continue;
      for (TensorName& name : names_)
        if (name.name.starts_with(usual)) name.name = prefix + name.name.substr(usual.size());
      return;
    }
  }

  // A new pad token may have given the embedding a row more than the checkpoint has.
  std::int64_t stored_rows() const { return std::min(config_.spec.vocab_size, config_.json["vocab_size"].get<std::int64_t>()); }

  void check(const TensorName& name, const std::vector<std::int64_t>& slot_shape) const {
    const at::Tensor source = files_.float_tensor(name.name);
    const std::vector<std::int64_t> expected = checkpoint_shape(name, slot_shape);
    if (source.sizes() != at::IntArrayRef(expected))
      fail_input("{}: expected shape [{}] by {}/config.json, got [{}]; config.json and weights do not belong together",
                 files_.where(name.name), fmt::join(expected, ", "), config_.directory, fmt::join(source.sizes().vec(), ", "));
  }

  const CheckpointConfig& config_;
  const TensorFiles& files_;
  std::vector<TensorName> names_;
};

void choose_new_pad(CheckpointConfig& config, const Tokenizer& tokenizer) {
  const PadToken pad = choose_pad_token(tokenizer, config.end_token_ids);
  if (pad.id > config.spec.vocab_size)
    fail_input("{}: tokenizer.json: expected up to {} tokens, as the embedding has rows, got {}, so that there is no place for a pad token",
               config.directory, config.spec.vocab_size, tokenizer.vocab_size());
  config.spec.vocab_size = std::max(config.spec.vocab_size, pad.id + 1);
  config.pad_token_id = pad.id;
  config.new_pad = pad;
}

bool is_end_token(const CheckpointConfig& config, const Tokenizer& tokenizer, std::optional<std::int64_t> id) {
  if (!id) return false;
  return std::ranges::find(config.end_token_ids, *id) != config.end_token_ids.end() || tokenizer.special().eos == *id;
}

// A new reward model gets a pad token of its own; so does one that is read at its last token, which transformers would read before it.
void settle_pad(CheckpointConfig& config, bool new_model, Pooling pooling) {
  if (!new_model && (pooling != Pooling::last || !config.pad_token_id)) return;
  const Tokenizer tokenizer = Tokenizer::load(config.directory);
  if (new_model || is_end_token(config, tokenizer, config.pad_token_id)) choose_new_pad(config, tokenizer);
}

std::string lm_head_name(ModelSpec spec) {
  spec.tied_embeddings = false;
  for (const TensorName& name : list_tensor_names(spec, HeadKind::language_model))
    if (name.slot == Slot::lm_head) return name.name;
  fail_internal("lm_head_name: expected a head");
}

// transformers takes an LM head that differs from the embedding for what it is, whatever tie_word_embeddings says.
void untie_where_they_differ(ModelSpec& spec, const TensorFiles& files) {
  if (!spec.tied_embeddings) return;
  ModelSpec untied = spec;
  untied.tied_embeddings = false;
  const std::string head = lm_head_name(spec);
  if (!files.contains(head)) return;
  const at::Tensor lm_head = files.float_tensor(head);
  for (const std::string& name : files.names())
    if (ends_with_any(name, {"embed_tokens.weight", "wte.weight", "embed_in.weight"}) && !at::equal(files.float_tensor(name), lm_head))
      spec = untied;
}

}  // namespace

LoadedRewardModel load_reward_model(const std::string& directory, at::ScalarType dtype, at::Device device, MissingHead missing_head,
                                    std::uint64_t seed, std::optional<Pooling> pooling, Log& log) {
  const at::NoGradGuard no_grad;
  if (is_adapter(directory)) return load_reward_adapter(directory, dtype, device, pooling, log);
  LoadedRewardModel loaded;
  loaded.config = load_checkpoint_config(directory);
  CheckpointConfig& config = loaded.config;
  const TensorFiles files = TensorFiles::open(directory);
  const std::optional<RewardHead> head = read_reward_head(config, files, log);
  loaded.new_head = !head;
  const bool may_miss = missing_head == MissingHead::zero || (missing_head == MissingHead::initialise && config.head != HeadKind::reward);
  if (!head && !may_miss) fail_without_head(config);

  RewardModel& reward_model = loaded.reward_model;
  reward_model.pooling = pooling ? *pooling : stored_pooling(config);
  settle_pad(config, !head && missing_head == MissingHead::initialise, reward_model.pooling);
  reward_model.pad_token_id = config.pad_token_id;

  const Loader loader(config, files, HeadKind::reward, head ? head->tensors : std::set<std::string>{});
  reward_model.model = {config.spec, Weights(config.spec, HeadKind::reward, dtype, device), {}};
  Weights& weights = reward_model.model.weights;
  loader.load(weights);
  loaded.head = (head                                ? head->weight
                 : missing_head == MissingHead::zero ? at::zeros({1, config.spec.width}, at::kFloat)
                                                     : make_reward_head(config.spec.width, seed))
                    .to(device);
  weights.at(Slot::score).copy_(loaded.head);
  if (head && head->bias.defined()) weights.set(Slot::score_bias, 0, head->bias.to(device));
  return loaded;
}

void warn_about_pad(const LoadedRewardModel& loaded, const Tokenizer& tokenizer, Log& log) {
  const RewardModel& reward_model = loaded.reward_model;
  if (reward_model.pooling != Pooling::last_not_pad || !is_end_token(loaded.config, tokenizer, reward_model.pad_token_id)) return;
  log.warn(
      fmt::format("{}: pad_token_id is the end token ({}): rewards are read at the token before it, as transformers does; --pooling last "
                  "reads the last token",
                  loaded.config.directory, *reward_model.pad_token_id));
}

LoadedLanguageModel load_language_model(const std::string& directory, at::ScalarType dtype, at::Device device, Log& log) {
  const at::NoGradGuard no_grad;
  if (is_adapter(directory)) return load_language_adapter(directory, dtype, device, log);
  LoadedLanguageModel loaded;
  loaded.config = load_checkpoint_config(directory);
  if (loaded.config.head != HeadKind::language_model)
    fail_input("{}: expected a causal language model, got {}", directory, loaded.config.json["architectures"][0].get<std::string>());
  const TensorFiles files = TensorFiles::open(directory);
  untie_where_they_differ(loaded.config.spec, files);
  const Loader loader(loaded.config, files, HeadKind::language_model, {});
  loaded.model = {loaded.config.spec, Weights(loaded.config.spec, HeadKind::language_model, dtype, device), {}};
  loader.load(loaded.model.weights);
  return loaded;
}

at::Tensor load_language_model_head(const std::string& directory) {
  const at::NoGradGuard no_grad;
  CheckpointConfig config = load_checkpoint_config(is_adapter(directory) ? adapter_base(directory) : directory);
  const TensorFiles files = TensorFiles::open(config.directory);
  untie_where_they_differ(config.spec, files);
  if (config.spec.tied_embeddings) return {};
  const std::string name = lm_head_name(config.spec);
  if (!files.contains(name))
    fail_input("{}: expected the head of a language model, {}, got a checkpoint without; it is kept in a causal language model's",
               directory, name);
  return files.float_tensor(name).clone();  // the files are closed
}

}  // namespace metarm
