// Which tokens of a sequence its reward comes from.
//
// Integrated gradients (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", arXiv 1703.01365): along the straight line
// from a baseline, the embedding of one token that says nothing at every place, to the sequence's own embeddings x,
//
//   value_i = <x_i - b, integral over a in [0, 1] of d reward / d x_i at b + a (x - b)>
//
// The values add up to reward - baseline reward (completeness) but for the error of the integral, which Gauss and Legendre's points keep
// small: their number is doubled until it is below a tolerance. Gradient x input takes the gradient at x alone: one pass, and no such sum.
#pragma once

#include <cstdint>
#include <vector>

#include "metarm/model/reward_model.h"

namespace metarm {

struct AttributionOptions {
  bool integrated = true;                // false: gradient x input
  double tolerance = 0.02;               // of |error| / |reward - baseline reward|
  std::int64_t first_points = 8;         // of the integral, at first
  std::int64_t max_points = 256;         // at most
  std::int64_t tokens_per_batch = 2048;  // of a forward and backward pass
};

struct Attribution {
  std::vector<double> values;  // one a token
  double reward = 0;
  double baseline_reward = 0;
  std::int64_t points = 0;
  double sum() const;
  double error() const;  // |sum - (reward - baseline_reward)| / |reward - baseline_reward|
};

// The token that says nothing: the one that pads, else the one that ends a text.
TokenId baseline_token(const RewardModel& reward_model, const Tokenizer& tokenizer);

// Of the sequence's reward, in the compute type: in bfloat16 the error says how far the values can be trusted. `baseline`: the token that
// says nothing.
Attribution attribute_reward(const RewardModel& reward_model, const TokenIds& tokens, TokenId baseline, const AttributionOptions& options);

// The n points in (0, 1) and weights of Gauss and Legendre's rule: exact for polynomials of degree 2 n - 1.
struct Quadrature {
  std::vector<double> points, weights;
};
Quadrature gauss_legendre(std::int64_t n);

}  // namespace metarm
