#include "metarm/model/merge.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/model/reward_head.h"
#include "metarm/model/same_texts.h"
#include "metarm/model/spec_difference.h"

namespace metarm {

namespace {

double parse_weight(const std::string& text) {
  double weight = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(weight) || weight <= 0)
    fail_input("merge: --weights: expected numbers above 0, got {}", text);
  return weight;
}

std::string pooling_text(const RewardModel& model) {
  if (model.pooling == Pooling::last) return "the last token";
  return model.pad_token_id ? fmt::format("the last token that is not {}", *model.pad_token_id) : "the last token, without a pad token";
}

void check_same_model(const std::string& directory, const RewardModel& found, const std::string& reference, const RewardModel& expected) {
  if (const std::string difference = spec_difference(expected.model.spec, found.model.spec); !difference.empty())
    fail_input("{}: expected the architecture of {}, got another: {}", directory, reference, difference);
  if (pooling_text(found) != pooling_text(expected))
    fail_input("{}: expected rewards to be read at {}, as in {}, got {}", directory, pooling_text(expected), reference,
               pooling_text(found));
}

// Members of one beginning keep heads that point nearly the same way; heads drawn apart are nearly at right angles.
constexpr double kLeastCosine = 0.5;

void check_heads(const at::Tensor& found, const at::Tensor& first, const std::string& directory, const std::string& reference, Log& log) {
  const double cosine = at::dot(found, first).item<double>() / std::max(found.norm().item<double>() * first.norm().item<double>(), 1e-30);
  if (cosine < kLeastCosine)
    log.warn(
        fmt::format("{}: the cosine of its reward head and that of {} is {:.2f}; averaging expects members that began from one reward "
                    "model, head included",
                    directory, reference, cosine));
}

at::Tensor head(const RewardModel& reward_model) { return reward_model.model.weights.at(Slot::score).flatten(); }

LoadedRewardModel load(const std::string& directory, double& bias, Log& log) {
  LoadedRewardModel loaded = load_reward_model(directory, at::kFloat, at::kCPU, MissingHead::fail, 0, std::nullopt, log);
  bias = remove_score_bias(loaded.reward_model.model);
  return loaded;
}

}  // namespace

std::vector<double> parse_merge_weights(const std::vector<std::string>& weights, std::size_t count) {
  if (weights.empty()) return std::vector<double>(count, 1.0 / static_cast<double>(count));
  if (weights.size() != count) fail_input("merge: --weights: expected one for each of the {} --models, got {}", count, weights.size());
  std::vector<double> shares;
  for (const std::string& weight : weights) shares.push_back(parse_weight(weight));
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return shares;
}

void merge_reward_models(const MergeOptions& options, Log& log) {
  const at::NoGradGuard no_grad;
  const std::vector<std::string>& models = options.models;
  if (models.size() < 2) fail_input("merge: --models: expected at least 2, got {}", models.size());
  const std::vector<double> shares = parse_merge_weights(options.weights, models.size());
  AtomicDirectory output(options.output);
  for (std::size_t i = 1; i < models.size(); ++i) check_same_texts(models[i], models[0]);
  double bias = 0, fall = 0;
  LoadedRewardModel merged = load(models[0], bias, log);
  fall += shares[0] * bias;
  const at::Tensor first_head = head(merged.reward_model).clone();
  at::Tensor sum = merged.reward_model.model.weights.storage().flat();
  sum.mul_(shares[0]);
  for (std::size_t i = 1; i < models.size(); ++i) {
    const LoadedRewardModel other = load(models[i], bias, log);
    check_same_model(models[i], other.reward_model, models[0], merged.reward_model);
    check_heads(head(other.reward_model), first_head, models[i], models[0], log);
    sum.add_(other.reward_model.model.weights.storage().flat(), shares[i]);
    fall += shares[i] * bias;
  }
  if (fall != 0)
    log.warn(fmt::format("the reward heads' biases, {} in the mean, have no place in transformers: all rewards fall by it", fall));
  save_reward_model(output.path(), merged.reward_model, merged.config, options.save_dtype);
  output.commit();
}

}  // namespace metarm
