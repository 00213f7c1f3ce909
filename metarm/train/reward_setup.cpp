#include "metarm/train/reward_setup.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/model/open.h"
#include "metarm/model/reward_head.h"
#include "metarm/model/tensor_files.h"

namespace metarm {

namespace {

std::string state_path(const std::string& folder) { return (std::filesystem::path(folder) / "training_state.safetensors").string(); }

// The reward model over the master weights themselves, for saving.
RewardModel over_master(const RewardSetup& setup) {
  RewardModel reward_model = setup.reward_model();
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < setup.trainable->master().size(); ++i) tensors.push_back(setup.trainable->master().tensor(i));
  if (setup.lora)
    attach_lora(reward_model, *setup.lora, tensors);
  else
    reward_model.model.weights = reward_model.model.weights.with_tensors(tensors);
  return reward_model;
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

}  // namespace

std::vector<EncodedPair> load_pairs(const std::vector<std::string>& files, const char* option, Encoder& encoder,
                                    const ScoringOptions& scoring, Log& log) {
  const Rows<Pair> rows = read_pairs(files, scoring.bad_rows());
  log_skipped(rows.report, log);
  std::vector<EncodedPair> pairs = encoder.pairs(rows.rows);
  if (pairs.empty())
    fail_input("{}: expected pairs that fit in --max-length {}, got none of {}", option, scoring.max_length, rows.rows.size());
  return pairs;
}

RewardSetup make_reward_setup(const SetupOptions& options, const TrainingOptions& training, const ScoringOptions& scoring,
                              const CommonOptions& common, Ranks& ranks, Log& log) {
  const at::Device device = resolve_device(common);
  if (ranks.size() > 1 && device.is_cuda())
    fail_input("--device cuda: expected one rank, got {}; several ranks train on the CPU: give --device cpu", ranks.size());
  const at::ScalarType compute = resolve_dtype(common, device, Work::training);
  const bool lora = training.lora_rank > 0;
  RewardSetup setup(ranks);
  setup.source = options.model;
  setup.tokenizer = std::make_unique<Tokenizer>(Tokenizer::load(tokenizer_directory(options.model)));
  setup.chat = load_chat_template(options.model, *setup.tokenizer, scoring.chat_template);
  Encoder encoder(*setup.tokenizer, setup.chat ? &*setup.chat : nullptr, scoring.max_length);
  setup.pairs = load_pairs(options.pairs, "--pairs", encoder, scoring, log);
  if (!training.eval_pairs.empty()) setup.eval_pairs = load_pairs(training.eval_pairs, "--eval-pairs", encoder, scoring, log);
  for (const std::string& note : encoder.report().notes()) log.info(note);

  const auto seed = static_cast<std::uint64_t>(common.seed);
  setup.loaded =
      load_reward_model(options.model, lora ? compute : at::kFloat, device, options.missing_head, seed, scoring.fixed_pooling(), log);
  // The output is scored as it was trained, without being told again.
  if (scoring.chat_template != ChatFormat::automatic) setup.loaded.config.json["metarm_chat_template"] = enum_name(scoring.chat_template);
  RewardModel& reward_model = setup.loaded.reward_model;
  warn_about_pad(setup.loaded, *setup.tokenizer, log);
  if (lora && !training.merge_lora)
    check_adapter_base(options.model, setup.loaded, log);
  else
    check_save_dtype(reward_model.model, training.save_dtype);
  if (const double bias = remove_score_bias(reward_model.model); bias != 0)
    log.warn(fmt::format("{}: the reward head's bias, {}, has no place in transformers: all rewards fall by it", options.model, bias));
  if (lora) setup.lora = make_lora(reward_model.model.spec, training.lora());
  FlatTensors master = lora ? make_lora_tensors(*setup.lora, setup.loaded.head, seed) : reward_model.model.weights.storage();
  setup.trainable = std::make_unique<Trainable>(std::move(master), compute, options.separate_copy);
  if (lora)
    attach_lora(reward_model, *setup.lora, setup.trainable->leaves());
  else
    reward_model.model.weights = reward_model.model.weights.with_tensors(setup.trainable->leaves());
  return setup;
}

void save_trained(const RewardSetup& setup, const std::string& folder, bool merge, SaveDType dtype) {
  const RewardModel trained = over_master(setup);
  if (!setup.lora) return save_reward_model(folder, trained, setup.loaded.config, dtype);
  if (!merge) return save_adapter(folder, trained, *setup.lora, setup.loaded.config);
  // The base again, in float32: what the training computed with may be rounded.
  LoadedRewardModel base =
      load_reward_model(setup.source, at::kFloat, at::kCPU, MissingHead::initialise, 0, trained.pooling, *make_null_log());
  remove_score_bias(base.reward_model.model);
  std::vector<at::Tensor> tensors;
  for (std::size_t i = 0; i < setup.trainable->master().size(); ++i) tensors.push_back(setup.trainable->master().tensor(i).cpu());
  merge_lora(base.reward_model, *setup.lora, tensors);
  save_reward_model(folder, base.reward_model, setup.loaded.config, dtype);
}

void save_checkpoint(const RewardSetup& setup, const std::string& folder, bool merge, const NamedTensors& state) {
  save_trained(setup, folder, merge, SaveDType::float32);
  NamedTensors all = state;
  if (setup.lora) all.emplace_back("trainable", setup.trainable->master().flat());
  if (all.empty()) return;
  std::vector<NamedTensor> named;
  for (const auto& entry : all) named.push_back({entry.first, entry.second.sizes().vec(), [&entry] { return entry.second; }});
  save_tensor_file(state_path(folder), named, at::kFloat);
}

void load_checkpoint(RewardSetup& setup, const std::string& folder, const NamedTensors& state, Log& log) {
  const at::NoGradGuard no_grad;
  const Share share = setup.share();
  at::Tensor weights = setup.trainable->master().flat();
  if (!setup.lora)
    weights.copy_(load_reward_model(folder, at::kFloat, at::kCPU, MissingHead::fail, 0, setup.reward_model().pooling, log)
                      .reward_model.model.weights.storage()
                      .flat());
  if (state.empty() && !setup.lora) return;
  const TensorFiles file = TensorFiles::open_file(state_path(folder));
  const auto stored = [&](const std::string& name) {
    const at::Tensor tensor = file.float_tensor(name);
    if (tensor.dim() != 1 || tensor.numel() != share.total())
      fail_input("{}: expected {} numbers, got {}; it belongs to another run", file.where(name), share.total(), tensor.numel());
    return tensor;
  };
  for (const auto& [name, part] : state) part.copy_(share.own(stored(name)));
  if (setup.lora) weights.copy_(stored("trainable"));
}

}  // namespace metarm
