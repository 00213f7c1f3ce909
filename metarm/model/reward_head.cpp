#include "metarm/model/reward_head.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/ensemble_config.h"
#include "metarm/model/lora.h"

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

at::Tensor read_finite(const TensorFiles& files, const std::string& name, const std::vector<std::int64_t>& shape) {
  const at::Tensor source = files.float_tensor(name);
  if (source.sizes() != at::IntArrayRef(shape))
    fail_input("{}: expected shape [{}], got [{}]", files.where(name), fmt::join(shape, ", "), fmt::join(source.sizes().vec(), ", "));
  at::Tensor tensor = at::empty(shape, at::kFloat).copy_(source);
  if (!at::isfinite(tensor).all().item<bool>()) fail_input("{}: expected finite weights, got NaN or infinity", files.where(name));
  return tensor;
}

void warn_about_normalization(const CheckpointConfig& config, Log& log) {
  for (const char* field : {"do_normalize", "normalize_reward"})
    if (config.json.value(field, Json()) == true)
      log.warn(fmt::format("{}: {}: rewards are given as the head has them, before that normalization by a mean and a deviation",
                           config.directory, field));
}

}  // namespace

std::optional<RewardHead> read_reward_head(const CheckpointConfig& config, const TensorFiles& files, Log& log) {
  const std::optional<std::string> name = find_head(files, config.json);
  if (!name) return std::nullopt;
  warn_about_normalization(config, log);
  const std::string weight = *name + ".weight", bias = *name + ".bias";
  RewardHead head;
  head.tensors = {weight, bias};
  head.weight = read_finite(files, weight, {1, config.spec.width});
  if (files.contains(bias)) head.bias = read_finite(files, bias, {1});
  return head;
}

void fail_without_head(const CheckpointConfig& config) {
  if (config.head == HeadKind::language_model)
    fail_input("{}: expected a reward model, got a causal language model; `metarm train` makes a reward model of it", config.directory);
  fail_input("{}: expected a reward head (score.weight, or {} of other trainers), got none; without it rewards would be random",
             config.directory, fmt::join(std::begin(kHeadNames) + 1, std::end(kHeadNames), ", "));
}

at::Tensor make_reward_head(std::int64_t width, std::uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(derive_seed(seed, "reward head"));
  const double deviation = 1.0 / std::sqrt(static_cast<double>(width + 1));
  return at::empty({1, width}, at::kFloat).normal_(0.0, deviation, generator);
}

at::Tensor load_reward_head(const std::string& directory, Log& log) {
  refuse_ensemble(directory);
  if (is_adapter(directory)) return load_adapter_head(directory);
  const CheckpointConfig config = load_checkpoint_config(directory);
  const std::optional<RewardHead> head = read_reward_head(config, TensorFiles::open(directory), log);
  if (!head) fail_without_head(config);
  return head->weight;
}

Pooling stored_pooling(const CheckpointConfig& config) {
  for (const char* field : {"metarm_pooling", "pooling"}) {
    if (!config.json.contains(field) || config.json[field].is_null()) continue;
    const Json& value = config.json[field];
    if (value != "last")
      fail_input("{}: {}: expected last, got {}; --pooling says where to read rewards all the same", config.directory, field, value.dump());
    return Pooling::last;
  }
  return config.json["model_type"] == "gpt_neox_reward_model" ? Pooling::last : Pooling::last_not_pad;
}

double remove_score_bias(Model& model) {
  const at::NoGradGuard no_grad;
  Weights& weights = model.weights;
  const at::Tensor bias = weights.at(Slot::score_bias), norm_bias = weights.at(Slot::final_norm_bias);
  if (!bias.defined()) return 0;
  const double c = bias.item<double>();
  weights.set(Slot::score_bias, 0, {});
  const at::Tensor score = weights.at(Slot::score).to(at::kFloat).squeeze(0);
  const double squares = at::dot(score, score).item<double>();
  if (!norm_bias.defined() || squares == 0) return c;
  norm_bias.copy_(norm_bias.to(at::kFloat) + score * (c / squares));
  return 0;
}

}  // namespace metarm
