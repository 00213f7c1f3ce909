#include "metarm/model/attribution.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numbers>
#include <numeric>
#include <set>
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

// Lobatto's rule: exact for polynomials of degree 7. Its ends are its neighbours', its middle an end of its halves.
constexpr std::array<double, 5> kLobattoPoints = {0, 0.17267316464601142810, 0.5, 0.82732683535398857190, 1};
constexpr std::array<double, 5> kLobattoWeights = {1.0 / 20, 49.0 / 180, 16.0 / 45, 49.0 / 180, 1.0 / 20};
constexpr std::int64_t kFirstPieces = 4;
double lobatto_place(double begin, double end, std::size_t k) { return k == 4 ? end : begin + (end - begin) * kLobattoPoints[k]; }

std::vector<double> products(const at::Tensor& gradient, const at::Tensor& difference) {
  const at::Tensor values = (gradient * difference).sum(-1, false, at::kDouble).cpu().contiguous();
  return {values.const_data_ptr<double>(), values.const_data_ptr<double>() + values.numel()};
}

void add(std::vector<double>& sum, const std::vector<double>& values, double weight) {
  sum.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) sum[i] += weight * values[i];
}

double sum_of(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

}  // namespace

// Rewards of the sequence when it is given by embeddings on the way to its own, and their gradients with respect to these.
class PathIntegral::Sequence {
 public:
  Sequence(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, std::int64_t tokens_per_batch)
      : model_(reward_model.model), length_(static_cast<std::int64_t>(tokens.size())), tokens_per_batch_(tokens_per_batch) {
    const at::NoGradGuard no_grad;
    const TokenTree tree = make_token_tree(std::span(&tokens, 1));
    pooled_ = pooled_tokens(make_batch(std::span(&tree, 1)), reward_model.pooling, reward_model.pad_token_id).at(0);
    const at::Tensor& table = model_.weights.at(Slot::token_embedding);
    const at::Tensor ids = at::tensor(std::vector<std::int64_t>(tokens.begin(), tokens.end())).to(table.device());
    end_ = at::embedding(table, ids);
    begin_ = table[baseline].unsqueeze(0).expand_as(end_);
  }

  // As many places a forward and backward pass as tokens_per_batch allows.
  std::vector<Node> at(const std::vector<double>& places) const {
    std::vector<Node> nodes;
    const auto part = static_cast<std::size_t>(std::max<std::int64_t>(1, tokens_per_batch_ / length_));
    for (std::size_t begin = 0; begin < places.size(); begin += part)
      pass(std::span(places).subspan(begin, std::min(part, places.size() - begin)), nodes);
    return nodes;
  }

 private:
  void pass(std::span<const double> places, std::vector<Node>& nodes) const {
    std::vector<at::Tensor> embedded;
    for (const double place : places) embedded.push_back(begin_ + place * (end_ - begin_));
    const at::Tensor leaf = at::cat(embedded).detach().set_requires_grad(true);

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
    const at::AutoGradMode with_gradients(true);
    const at::Tensor reward_B = batch_rewards(model, batch, pooled, {});
    const at::Tensor gradient = torch::autograd::grad({reward_B.sum()}, {leaf})[0].to(at::kFloat);
    const at::Tensor rewards = reward_B.detach().cpu(), difference = (end_ - begin_).to(at::kFloat);
    for (std::int64_t row = 0; row < rewards.size(0); ++row)
      nodes.push_back({rewards[row].item<double>(), products(gradient.narrow(0, row * length_, length_), difference)});
  }

  Model model_;
  std::int64_t length_, tokens_per_batch_, pooled_ = 0;
  at::Tensor begin_, end_;  // [n, D]
};

bool IntegralError::within(double tolerance) const { return std::abs(sum) <= tolerance && std::sqrt(squares) <= tolerance; }

PathIntegral::PathIntegral(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, std::int64_t tokens_per_batch)
    : sequence_(std::make_unique<Sequence>(reward_model, tokens, baseline, tokens_per_batch)) {
  std::vector<Piece> pieces;
  for (std::int64_t i = 0; i < kFirstPieces; ++i)
    pieces.push_back({static_cast<double>(i) / kFirstPieces, static_cast<double>(i + 1) / kFirstPieces, 0});
  add_pieces(std::move(pieces));
}

PathIntegral::~PathIntegral() = default;
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
  const auto is_known = [&](std::int64_t token) { return token >= 0 && token < reward_model.model.spec.vocab_size; };
  if (reward_model.pad_token_id && is_known(*reward_model.pad_token_id)) return static_cast<TokenId>(*reward_model.pad_token_id);
  const TokenId end = tokenizer.special().eos.value_or(0);
  return is_known(end) ? end : 0;
}

Attribution PathIntegral::attribution() const {
  Attribution attribution{{}, nodes_.at(1).reward, nodes_.at(0).reward, points()};
  for (const Piece& piece : pieces_) add(attribution.values, integrate(piece), 1);
  return attribution;
}

double PathIntegral::difference() const { return nodes_.at(1).reward - nodes_.at(0).reward; }

std::vector<double> PathIntegral::integrate(const Piece& piece) const {
  std::vector<double> values;
  for (std::size_t k = 0; k < kLobattoPoints.size(); ++k)
    add(values, nodes_.at(lobatto_place(piece.begin, piece.end, k)).values, (piece.end - piece.begin) * kLobattoWeights[k]);
  return values;
}

void PathIntegral::add_pieces(std::vector<Piece> pieces) {
  std::set<double> missing;
  for (const Piece& piece : pieces)
    for (std::size_t k = 0; k < kLobattoPoints.size(); ++k)
      if (const double place = lobatto_place(piece.begin, piece.end, k); !nodes_.contains(place)) missing.insert(place);
  const std::vector<double> places(missing.begin(), missing.end());
  std::vector<Node> found = sequence_->at(places);
  for (std::size_t i = 0; i < places.size(); ++i) nodes_.emplace(places[i], std::move(found[i]));
  for (Piece& piece : pieces) {
    piece.error = sum_of(integrate(piece)) - (nodes_.at(piece.end).reward - nodes_.at(piece.begin).reward);
    pieces_.push_back(piece);
  }
  error_ = {};
  for (const Piece& piece : pieces_) {
    error_.sum += piece.error;
    error_.squares += piece.error * piece.error;
  }
}

void PathIntegral::refine(double tolerance) {
  std::ranges::sort(pieces_, std::ranges::greater(), [](const Piece& piece) { return std::abs(piece.error); });
  double squares = error_.squares;
  std::vector<Piece> halves;
  std::size_t worst = 0;
  do {
    const Piece& piece = pieces_[worst++];
    const double middle = (piece.begin + piece.end) / 2;
    halves.push_back({piece.begin, middle, 0});
    halves.push_back({middle, piece.end, 0});
    squares -= piece.error * piece.error;
  } while (worst < pieces_.size() && std::sqrt(std::max(squares, 0.0)) > tolerance / 2);
  pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(worst));
  add_pieces(std::move(halves));
}

void PathIntegral::refine_within(double tolerance, std::int64_t max_points) {
  while (!error_.within(tolerance) && points() < max_points) refine(tolerance);
}

Attribution attribute_by_prefixes(const RewardModel& reward_model, const TokenIds& tokens) {
  const at::NoGradGuard no_grad;
  const TokenTree tree = make_token_tree(std::span(&tokens, 1));
  const Batch batch = make_batch(std::span(&tree, 1));
  const bool looks_past_pads = reward_model.pooling == Pooling::last_not_pad && reward_model.pad_token_id;
  std::vector<std::int64_t> ends;  // of each prefix, the token that its reward is read from
  for (std::int64_t i = 0; i < std::ssize(tokens); ++i)
    ends.push_back(i > 0 && looks_past_pads && batch.tokens[static_cast<std::size_t>(i)] == *reward_model.pad_token_id ? ends.back() : i);
  const at::Tensor reward_N = batch_rewards(reward_model.model, batch, ends, {}).to(at::kDouble).cpu();
  const std::span rewards(reward_N.const_data_ptr<double>(), tokens.size());
  Attribution attribution{{0}, rewards.back(), rewards.front(), 0};
  for (std::size_t i = 1; i < rewards.size(); ++i) attribution.values.push_back(rewards[i] - rewards[i - 1]);
  return attribution;
}

Attribution attribute_reward(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, const AttributionOptions& options) {
  if (options.method == AttributionMethod::prefix) return attribute_by_prefixes(reward_model, tokens);
  const bool integrated = options.method == AttributionMethod::integrated;
  if (integrated && options.points == 0) {
    PathIntegral integral(reward_model, tokens, baseline, options.tokens_per_batch);
    integral.refine_within(options.tolerance * std::abs(integral.difference()), options.max_points);
    return integral.attribution();
  }
  const Quadrature rule = integrated ? gauss_legendre(options.points) : Quadrature{{1}, {1}};
  std::vector<double> places = rule.points;
  places.insert(places.end(), {0, 1});
  const auto nodes = PathIntegral::Sequence(reward_model, tokens, baseline, options.tokens_per_batch).at(places);
  Attribution attribution{{}, nodes.back().reward, nodes[nodes.size() - 2].reward, static_cast<std::int64_t>(rule.points.size())};
  for (std::size_t i = 0; i < rule.points.size(); ++i) add(attribution.values, nodes[i].values, rule.weights[i]);
  return attribution;
}

}  // namespace metarm
