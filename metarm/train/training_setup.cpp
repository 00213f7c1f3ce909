#include "metarm/train/training_setup.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/model/open.h"
#include "metarm/model/reward_head.h"
#include "metarm/model/tensor_files.h"
#include "metarm/train/layer_rates.h"

namespace metarm {

namespace {

std::string state_path(const std::string& folder, const char* extension) {
  return (std::filesystem::path(folder) / "training_state").string() + extension;
}

// Said before the training rather than after it.
void check_save_dtype(const Model& model, SaveDType dtype) {
  constexpr double kMaxHalf = 65504;
  if (dtype != SaveDType::float16) return;
  const at::Tensor& weights = model.weights.storage().flat();
  const double largest = std::max(weights.max().item<double>(), -weights.min().item<double>());
  if (largest > kMaxHalf)
    fail_input("--save-dtype: expected bfloat16 or float32 for weights up to {}, got float16, which ends at {}", largest, kMaxHalf);
}

template <class Loaded>
auto& model_in(Loaded& loaded) {
  if (auto* reward = std::get_if<LoadedRewardModel>(&loaded)) return reward->reward_model.model;
  return std::get<LoadedLanguageModel>(loaded).model;
}

// The output is read as it was trained, without being told again.
void remember_chat_template(CheckpointConfig& config, ChatFormat format) {
  if (format != ChatFormat::automatic) config.json["metarm_chat_template"] = enum_name(format);
}

}  // namespace

TrainingSetup::TrainingSetup(std::string of_model, const SequenceOptions& sequences, const CommonOptions& common, Ranks& of_run)
    : ranks(of_run),
      source(std::move(of_model)),
      device_(resolve_device(common)),
      compute_(resolve_dtype(common, device_, Work::training)),
      seed_(static_cast<std::uint64_t>(common.seed)),
      chat_format_(sequences.chat_template) {
  if (ranks.size() > 1 && device_.is_cuda())
    fail_input("--device cuda: expected one rank, got {}; several ranks train on the CPU: give --device cpu", ranks.size());
  tokenizer = std::make_unique<Tokenizer>(Tokenizer::load(tokenizer_directory(source)));
  chat = load_chat_template(source, *tokenizer, chat_format_);
}

void TrainingSetup::load_as_reward_model(MissingHead missing_head, bool separate_copy, const TrainingOptions& training,
                                         const ScoringOptions& scoring, Log& log) {
  const bool with_lora = training.lora_rank > 0;
  const at::ScalarType dtype = with_lora ? compute_ : at::kFloat;
  LoadedRewardModel loaded;
  std::vector<at::Tensor> adapter;
  if (with_lora && !training.merge_lora && is_adapter(source)) {
    AdapterApart apart = load_adapter_apart(source, dtype, device_, scoring.fixed_pooling(), log);
    loaded = std::move(apart.base), lora = std::move(apart.lora), adapter = std::move(apart.tensors);
    log.info(fmt::format("{} goes on as an adapter of rank {} over {}; --lora-rank 0 trains all weights", source, lora->options.rank,
                         loaded.config.directory));
  } else {
    loaded = load_reward_model(source, dtype, device_, missing_head, seed_, scoring.fixed_pooling(), log);
  }
  begin_head(loaded, log);
  remember_chat_template(loaded.config, chat_format_);
  warn_about_pad(loaded, *tokenizer, log);
  if (with_lora && !training.merge_lora)
    check_adapter_base(loaded.config.directory, loaded, log);
  else
    check_save_dtype(loaded.reward_model.model, training.save_dtype);
  if (const double bias = remove_score_bias(loaded.reward_model.model); bias != 0)
    log.warn(fmt::format("{}: the reward head's bias, {}, has no place in transformers: all rewards fall by it", source, bias));
  const at::Tensor head = loaded.head;
  loaded_ = std::move(loaded);
  head_training = make_head_training(head_options_, model_in(loaded_).spec.width);
  make_trainable(training, head, separate_copy, adapter);
}

void TrainingSetup::begin_head(LoadedRewardModel& loaded, Log& log) const {
  if (init_head_ == "auto") return;
  const at::NoGradGuard no_grad;
  const std::int64_t width = loaded.config.spec.width;
  const at::Tensor head = init_head_ == "zeros"    ? at::zeros({1, width}, at::kFloat)
                          : init_head_ == "normal" ? make_reward_head(width, seed_)
                                                   : with_context("--init-head", [&] { return load_reward_head(init_head_, log); });
  if (head.numel() != width)
    fail_input("--init-head {}: expected a head of {} numbers, as wide as the hidden states of {}, got {}", init_head_, width, source,
               head.numel());
  loaded.head = head.view({1, width}).to(device_);
  Weights& weights = loaded.reward_model.model.weights;
  weights.at(Slot::score).copy_(loaded.head);
  weights.set(Slot::score_bias, 0, {});
}

void TrainingSetup::load_language_head() {
  const at::Tensor head = load_language_model_head(source);
  Model& model = model_in(loaded_);
  model.spec.tied_embeddings = !head.defined();
  if (head.defined()) model.weights.set(Slot::lm_head, 0, head.to(device_, compute_));
}

void TrainingSetup::load_as_policy(const TrainingOptions& training, Log& log) {
  const bool with_lora = training.lora_rank > 0;
  LoadedLanguageModel loaded = load_language_model(source, with_lora ? compute_ : at::kFloat, device_, log);
  remember_chat_template(loaded.config, chat_format_);
  if (with_lora && !training.merge_lora)
    check_adapter_base(source);
  else
    check_save_dtype(loaded.model, training.save_dtype);
  loaded_ = std::move(loaded);
  make_trainable(training, {}, false);
}

// `head`: a reward model's, undefined for a policy. `adapter`: what `lora` goes on from, with a head that counts no more; empty: it begins.
void TrainingSetup::make_trainable(const TrainingOptions& training, const at::Tensor& head, bool separate_copy,
                                   const std::vector<at::Tensor>& adapter) {
  Model& model = model_in(loaded_);
  if (training.lora_rank > 0 && !lora) lora = make_lora(model.spec, training.lora());
  FlatTensors master = lora ? make_lora_tensors(*lora, head, device_, seed_) : model.weights.storage();
  for (std::size_t i = 0; i + 1 < adapter.size(); ++i) master.tensor(i).copy_(adapter[i]);
  model_tensors_ = master.size();
  const std::int64_t layers = model.spec.layers;
  const std::vector<std::int64_t> places = lora ? layer_places(*lora, layers, model_tensors_) : layer_places(model.weights.slots(), layers);
  rates = layer_rates(places, layers, training.layer_rates());
  first_steps = metarm::first_steps(places, training.unfreeze_every);
  if (head_training) {
    for (std::size_t i = 0; i < model_tensors_; ++i)
      if (master.info(i).name.starts_with("score")) rates[i] = 0;  // what it stands for moves
    for (std::size_t i = 0; i < head_training->tensors().size(); ++i) rates.push_back(head_training->rate(i)), first_steps.push_back(0);
    master = with_head_tensors(master, head);
  }
  trainable = std::make_unique<Trainable>(std::move(master), compute_, separate_copy);
  const std::vector<at::Tensor> leaves(trainable->leaves().begin(),
                                       trainable->leaves().begin() + static_cast<std::ptrdiff_t>(model_tensors_));
  if (lora)
    attach_lora(model, *lora, leaves);
  else
    model.weights = model.weights.with_tensors(leaves);
  for (std::size_t i = 0; i < rates.size(); ++i)
    if (rates[i] == 0) trainable->freeze(i);
}

void TrainingSetup::train_head(const HeadTrainingOptions& options) {
  if (options.head_training != HeadTrainingKind::plain && ranks.size() > 1)
    fail_input("--head-training {}: expected one rank, got {}; it is a function of all pairs of a step", enum_name(options.head_training),
               ranks.size());
  head_options_ = options;
}

FlatTensors TrainingSetup::with_head_tensors(const FlatTensors& of_model, const at::Tensor& head) const {
  const at::NoGradGuard no_grad;
  std::vector<TensorInfo> infos;
  for (std::size_t i = 0; i < of_model.size(); ++i) infos.push_back(of_model.info(i));
  for (TensorInfo& info : head_training->tensors()) infos.push_back(std::move(info));
  FlatTensors all(std::move(infos), at::kFloat, device_);
  all.flat().narrow(0, 0, of_model.flat().numel()).copy_(of_model.flat());
  std::vector<at::Tensor> added;
  for (std::size_t i = of_model.size(); i < all.size(); ++i) added.push_back(all.tensor(i));
  head_training->begin(added, head.to(device_), seed_);
  return all;
}

std::vector<at::Tensor> TrainingSetup::head_masters() const {
  std::vector<at::Tensor> tensors;
  for (std::size_t i = model_tensors_; i < trainable->master().size(); ++i) tensors.push_back(trainable->master().tensor(i));
  return tensors;
}

void TrainingSetup::read_trained_head() {
  if (!head_training) return;
  const at::NoGradGuard no_grad;
  model_in(loaded_).weights.set(Slot::score, 0, head_training->head(head_masters()).to(compute_));
}

const CheckpointConfig& TrainingSetup::config() const {
  return std::visit([](const auto& loaded) -> const CheckpointConfig& { return loaded.config; }, loaded_);
}

Weights& TrainingSetup::frozen_weights() {
  if (!lora) fail_internal("frozen_weights: expected adapters, got a model whose weights are all trained");
  return model_in(loaded_).weights;
}

std::vector<at::Tensor> TrainingSetup::master_tensors() const {
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < model_tensors_; ++i) tensors.push_back(trainable->master().tensor(i));
  if (!head_training) return tensors;
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < model_tensors_; ++i)
    if (trainable->master().info(i).name.starts_with("score")) tensors[i] = head_training->head(head_masters());
  return tensors;
}

// The model over the master weights themselves, for saving.
Model TrainingSetup::over_master() const {
  Model trained = model_in(loaded_);
  if (lora)
    attach_lora(trained, *lora, master_tensors());
  else
    trained.weights = trained.weights.with_tensors(master_tensors());
  return trained;
}

void TrainingSetup::save(const std::string& folder, bool merge, SaveDType dtype) const {
  if (lora && merge) return save_merged(folder, dtype);
  if (is_policy()) {
    if (lora) return save_language_adapter(folder, over_master(), *lora, config());
    return save_language_model(folder, over_master(), config(), dtype);
  }
  RewardModel trained = reward_model();
  trained.model = over_master();
  if (lora) return save_reward_adapter(folder, trained, *lora, config());
  save_reward_model(folder, trained, config(), dtype);
}

// The base again, in float32: what the training computed with may be rounded.
void TrainingSetup::save_merged(const std::string& folder, SaveDType dtype) const {
  const std::unique_ptr<Log> quiet = make_null_log();
  std::vector<at::Tensor> tensors = master_tensors();
  for (at::Tensor& tensor : tensors) tensor = tensor.cpu();
  if (is_policy()) {
    LoadedLanguageModel base = load_language_model(source, at::kFloat, at::kCPU, *quiet);
    merge_lora(base.model, *lora, tensors);
    return save_language_model(folder, base.model, config(), dtype);
  }
  LoadedRewardModel base = load_reward_model(source, at::kFloat, at::kCPU, MissingHead::initialise, 0, reward_model().pooling, *quiet);
  if (init_head_ != "auto") base.reward_model.model.weights.set(Slot::score_bias, 0, {});  // as begin_head
  remove_score_bias(base.reward_model.model);
  merge_lora(base.reward_model.model, *lora, tensors);
  save_reward_model(folder, base.reward_model, config(), dtype);
}

void TrainingSetup::load_weights(const std::string& folder, Log& log) {
  const at::NoGradGuard no_grad;
  const Model saved =
      is_policy() ? load_language_model(folder, at::kFloat, at::kCPU, log).model
                  : load_reward_model(folder, at::kFloat, at::kCPU, MissingHead::fail, 0, reward_model().pooling, log).reward_model.model;
  at::Tensor weights = trainable->master().flat();
  weights.copy_(saved.weights.storage().flat());
}

void save_checkpoint(const TrainingSetup& setup, const std::string& folder, bool merge, const RunState& state) {
  setup.save(folder, merge, SaveDType::float32);
  NamedTensors all = state.tensors;
  if (setup.keeps_trainable()) all.emplace_back("trainable", setup.trainable->master().flat());
  if (!state.numbers.empty()) {
    Json numbers = Json::object();
    for (const auto& [name, number] : state.numbers) numbers[name] = *number;
    write_file(state_path(folder, ".json"), numbers.dump(2) + "\n");
  }
  if (all.empty()) return;
  std::vector<NamedTensor> named;
  for (const auto& entry : all) named.push_back({entry.first, entry.second.sizes().vec(), [&entry] { return entry.second; }});
  save_tensor_file(state_path(folder, ".safetensors"), named, at::kFloat);
}

void load_checkpoint(TrainingSetup& setup, const std::string& folder, const RunState& state, Log& log) {
  const at::NoGradGuard no_grad;
  const Share share = setup.share();
  if (!setup.keeps_trainable()) setup.load_weights(folder, log);
  if (!state.numbers.empty()) {
    const std::string path = state_path(folder, ".json");
    const Json numbers = load_json(path);
    for (const auto& [name, number] : state.numbers) *number = number_field(numbers, name.c_str(), path);
  }
  if (state.tensors.empty() && !setup.keeps_trainable()) return;
  const TensorFiles file = TensorFiles::open_file(state_path(folder, ".safetensors"));
  const auto stored = [&](const std::string& name) {
    const at::Tensor tensor = file.float_tensor(name);
    if (tensor.dim() != 1 || tensor.numel() != share.total())
      fail_input("{}: expected {} numbers, got {}; it belongs to another run", file.where(name), share.total(), tensor.numel());
    return tensor;
  };
  for (const auto& [name, part] : state.tensors) part.copy_(share.own(stored(name)));
  if (!setup.keeps_trainable()) return;
  at::Tensor trainable = setup.trainable->master().flat();
  trainable.copy_(stored("trainable"));
}

}  // namespace metarm
