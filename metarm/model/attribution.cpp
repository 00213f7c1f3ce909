#include "metarm/model/attribution.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <span>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// Legendre's polynomial of degree n at x, and its derivative.
std::pair<double, double> legendre(std::int64_t n, double x) {
  double before = 1, value = x;
  for (std::int64_t k = 2; k <= n; ++k)
    before = std::exchange(value, ((2 * k - 1) * x * value - (k - 1) * before) / static_cast<double>(k));
  return {value, static_cast<double>(n) * (x * value - before) / (x * x - 1)};
}

// Rewards of sequences that are given by their embeddings, and the gradients with respect to these.
class EmbeddedSequence {
 public:
  EmbeddedSequence(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, std::int64_t tokens_per_batch)
      : model_(reward_model.model), length_(static_cast<std::int64_t>(tokens.size())), tokens_per_batch_(tokens_per_batch) {
    const at::NoGradGuard no_grad;
    const TokenTree tree = make_token_tree(std::span(&tokens, 1));
    pooled_ = pooled_tokens(make_batch(std::span(&tree, 1)), reward_model.pooling, reward_model.pad_token_id).at(0);
    const at::Tensor& table = model_.weights.at(Slot::token_embedding);
    const at::Tensor ids = at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end())).to(table.device());
    end_ = at::embedding(table, ids);
    begin_ = table[baseline].unsqueeze(0).expand_as(end_);
  }

  at::Tensor difference() const { return (end_ - begin_).to(at::kFloat); }

  // For each place on the way from the baseline (0) to the sequence (1): its reward and its gradient [n, D].
  struct Passed {
    std::vector<double> rewards;
    std::vector<at::Tensor> gradients;
  };
  Passed pass(const std::vector<double>& places, bool gradients) const {
    Passed passed;
    const auto part = static_cast<std::size_t>(std::max<std::int64_t>(1, tokens_per_batch_ / length_));
    for (std::size_t begin = 0; begin < places.size(); begin += part)
      pass_part(std::span(places).subspan(begin, std::min(part, places.size() - begin)), gradients, passed);
    return passed;
  }

 private:
  void pass_part(std::span<const double> places, bool gradients, Passed& passed) const {
    std::vector<at::Tensor> embedded;
    for (const double place : places) embedded.push_back(begin_ + place * (end_ - begin_));
    at::Tensor leaf = at::cat(embedded).detach().set_requires_grad(gradients);

    // Token i of the batch has row i of the table: its embedding.
    Model model = model_;
    model.weights.set(Slot::token_embedding, 0, leaf);
    model.spec.vocab_size = leaf.size(0);
    Batch batch;
    std::vector<std::int64_t> pooled;
    for (std::int64_t row = 0; row < static_cast<std::int64_t>(places.size()); ++row) {
      const std::int64_t first = row * length_;
      for (std::int64_t i = 0; i < length_; ++i) {
        batch.tokens.push_back(first + i);
        batch.positions.push_back(i);
      }
      batch.segments.push_back({first, first + length_, first, first});
      batch.row_segment.push_back(row);
      pooled.push_back(first + pooled_);
    }
    const at::AutoGradMode mode(gradients);
    const at::Tensor reward_B = batch_rewards(model, batch, pooled, {});
    const at::Tensor rewards = reward_B.detach().cpu();
    for (std::int64_t row = 0; row < rewards.size(0); ++row) passed.rewards.push_back(rewards[row].item<double>());
    if (!gradients) return;
    const at::Tensor gradient = torch::autograd::grad({reward_B.sum()}, {leaf})[0].to(at::kFloat);
    for (const at::Tensor& one : gradient.split(length_)) passed.gradients.push_back(one);
  }

  Model model_;
  std::int64_t length_, tokens_per_batch_, pooled_ = 0;
  at::Tensor begin_, end_;  // [n, D]
};

std::vector<double> products(const at::Tensor& gradient, const at::Tensor& difference) {
  const at::Tensor values = (gradient * difference).sum(-1, false, at::kDouble).cpu().contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

std::vector<double> integrate(const EmbeddedSequence& sequence, std::int64_t points) {
  const Quadrature rule = gauss_legendre(points);
  const EmbeddedSequence::Passed passed = sequence.pass(rule.points, true);
  at::Tensor mean = at::zeros_like(passed.gradients.front());
  for (std::size_t i = 0; i < rule.weights.size(); ++i) mean.add_(passed.gradients[i], rule.weights[i]);
  return products(mean, sequence.difference());
}

}  // namespace

Quadrature gauss_legendre(std::int64_t n) {
  Quadrature rule;
  for (std::int64_t i = 0; i < n; ++i) {
    double x = std::cos(std::numbers::pi * (static_cast<double>(i) + 0.75) / (static_cast<double>(n) + 0.5));
    for (int step = 0; step < 20; ++step) {
      const auto [value, slope] = legendre(n, x);
      x -= value / slope;
    }
    const double slope = legendre(n, x).second;
    rule.points.push_back((1 - x) / 2);
    rule.weights.push_back(1 / ((1 - x * x) * slope * slope));
  }
  return rule;
}

double Attribution::sum() const { return std::accumulate(values.begin(), values.end(), 0.0); }

double Attribution::error() const {
  const double difference = reward - baseline_reward;
  return std::abs(sum() - difference) / std::max(std::abs(difference), 1e-12);
}

TokenId baseline_token(const RewardModel& reward_model, const Tokenizer& tokenizer) {
  return static_cast<TokenId>(reward_model.pad_token_id ? *reward_model.pad_token_id : tokenizer.special().eos.value_or(0));
}

Attribution attribute_reward(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, const AttributionOptions& options) {
  const EmbeddedSequence sequence(reward_model, tokens, baseline, options.tokens_per_batch);
  const std::vector<double> ends = sequence.pass({0, 1}, false).rewards;
  Attribution attribution{{}, ends[1], ends[0], 1};
  if (!options.integrated) {
    attribution.values = products(sequence.pass({1}, true).gradients[0], sequence.difference());
    return attribution;
  }
  for (std::int64_t points = options.first_points;; points *= 2) {
    attribution.points = std::min(points, options.max_points);
    attribution.values = integrate(sequence, attribution.points);
    if (attribution.error() <= options.tolerance || attribution.points >= options.max_points) return attribution;
  }
}

}  // namespace metarm
