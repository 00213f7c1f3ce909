// Which tokens of a sequence its reward comes from.
//
// Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", arXiv 1703.01365): along the straight line
// from a baseline, the embedding of one token that says nothing at every place, to the sequence's own embeddings x,
//
//   value_i = <x_i - b, integral over a in [0, 1] of d reward / d x_i at b + a (x - b)>
//
// The values add up to reward - baseline reward (completeness) but for the error of the integral. That is known piece by piece: between
// places l and h on the line the values must add up to reward(h) - reward(l). Rewards change abruptly at some places and hardly at others,
// so the line is cut into pieces of Lobatto's five points, and those with the largest errors are halved, their points kept, until the
// errors are within a tolerance: both their sum, which is the whole error, and the root of their sum of squares, so that they do not merely
// cancel. Gradient x input takes the gradient at x alone: one pass, and no such sum.
//
// Prefix rewards need no gradient. A causal model's hidden state at a token knows the text up to it alone, so that one pass has the reward
// of every prefix, and value_i = reward(x_1 .. x_i) - reward(x_1 .. x_(i-1)). The values add up exactly to reward - the first token's
// alone, which is the baseline. Where a prefix ends in pad tokens that the reward looks past, it has the reward of the one before.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "metarm/model/reward_model.h"

namespace metarm {

enum class AttributionMethod { integrated, gradient_x_input, prefix };

struct AttributionOptions {
  AttributionMethod method = AttributionMethod::integrated;
  double tolerance = 0.02;               // of |error| / |reward - baseline reward|
  std::int64_t points = 0;               // so many of Gauss and Legendre's instead, whatever the error
  std::int64_t max_points = 512;         // at about most
  std::int64_t tokens_per_batch = 2048;  // of a forward and backward pass
};

struct Attribution {
  std::vector<double> values;  // one a token
  double reward = 0;
  double baseline_reward = 0;
  std::int64_t points = 0;  // gradients taken
  double sum() const;
  double error() const;  // |sum - (reward - baseline_reward)| / |reward - baseline_reward|
};

// The token that says nothing: the one that pads, else the one that ends a text, else the first; of those in the vocabulary.
TokenId baseline_token(const RewardModel& reward_model, const Tokenizer& tokenizer);

Attribution attribute_by_prefixes(const RewardModel& reward_model, const TokenIds& tokens);

// Of the sequence's reward, in the compute type: in bfloat16 the error says how far the values can be trusted. `baseline`: the token that
// says nothing; prefix rewards have no use for it.
Attribution attribute_reward(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, const AttributionOptions& options);

// What the pieces of an integral fall short by, in rewards.
struct IntegralError {
  double sum = 0, squares = 0;
  bool within(double tolerance) const;
};

// Integrated gradients that get better as they are asked to, for who needs several of them to a common tolerance.
class PathIntegral {
 public:
  PathIntegral(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, std::int64_t tokens_per_batch);
  ~PathIntegral();

  Attribution attribution() const;
  double difference() const;  // reward - baseline reward
  const IntegralError& error() const { return error_; }
  std::int64_t points() const { return static_cast<std::int64_t>(nodes_.size()); }
  // Halves the worst pieces: so many that the others alone are well within the tolerance.
  void refine(double tolerance);
  // Until the error is within the tolerance, or there are max_points.
  void refine_within(double tolerance, std::int64_t max_points);

 private:
  class Sequence;
  struct Node {
    double reward;
    std::vector<double> values;  // <x_i - b_i, gradient> of each token
  };
  struct Piece {
    double begin, end, error;
  };
  friend Attribution attribute_reward(const RewardModel&, const TokenIds&, TokenId, const AttributionOptions&);

  void add_pieces(std::vector<Piece> pieces);
  std::vector<double> integrate(const Piece& piece) const;

  std::unique_ptr<const Sequence> sequence_;
  std::map<double, Node> nodes_;  // by their places on the way from the baseline (0) to the sequence (1)
  std::vector<Piece> pieces_;
  IntegralError error_;
};

// The n points in (0, 1) and weights of Gauss and Legendre's rule: exact for polynomials of degree 2 n - 1.
struct Quadrature {
  std::vector<double> points, weights;
};
Quadrature gauss_legendre(std::int64_t n);

}  // namespace metarm
