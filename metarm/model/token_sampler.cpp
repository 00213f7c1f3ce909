#include "metarm/model/token_sampler.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace metarm {

namespace {

std::vector<double> probabilities(std::span<const float> logits, double temperature) {
  const double highest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> weights(logits.size());
  double total = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) total += weights[i] = std::exp((logits[i] - highest) / temperature);
  for (double& weight : weights) weight /= total;
  return weights;
}

// The most probable tokens in order, at most `top_k` of them and no more than it takes to reach `top_p`. Sorts growing heads, since the set
// is nearly always small.
std::vector<TokenId> most_probable(const std::vector<double>& probability, std::size_t top_k, double top_p) {
  std::vector<TokenId> order(probability.size());
  std::iota(order.begin(), order.end(), 0);
  const auto before = [&](TokenId a, TokenId b) {
    const double pa = probability[static_cast<std::size_t>(a)], pb = probability[static_cast<std::size_t>(b)];
    return pa != pb ? pa > pb : a < b;
  };
  double reached = 0;
  std::size_t sorted = 0;
  for (std::size_t head = 64; sorted < top_k; head *= 8) {
    const std::size_t end = std::min(head, top_k);
    const auto from = order.begin() + static_cast<std::ptrdiff_t>(sorted), to = order.begin() + static_cast<std::ptrdiff_t>(end);
    if (to != order.end()) std::nth_element(from, to, order.end(), before);
    std::sort(from, to, before);
    for (; sorted < end; ++sorted) {
      reached += probability[static_cast<std::size_t>(order[sorted])];
      if (reached >= top_p && top_p < 1.0) {
        order.resize(sorted + 1);
        return order;
      }
    }
  }
  order.resize(top_k);
  return order;
}

template <class Tokens>
TokenId draw(const Tokens& tokens, const std::vector<double>& probability, double total, double uniform) {
  double left = uniform * total;
  TokenId last = 0;
  for (TokenId token : tokens) {
    last = token;
    left -= probability[static_cast<std::size_t>(token)];
    if (left < 0) break;
  }
  return last;
}

}  // namespace

TokenId sample_token(std::span<const float> logits, const TokenSampling& sampling, RandomStream& random) {
  if (sampling.temperature <= 0) return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const std::vector<double> probability = probabilities(logits, sampling.temperature);
  const std::size_t vocab = logits.size();
  const std::size_t top_k = sampling.top_k > 0 ? std::min(static_cast<std::size_t>(sampling.top_k), vocab) : vocab;
  std::vector<TokenId> tokens;
  if (top_k == vocab && sampling.top_p >= 1.0) {
    tokens.resize(vocab);
    std::iota(tokens.begin(), tokens.end(), 0);
  } else if (top_k < vocab) {  // the top p of what the top k leaves, renormalised
    tokens = most_probable(probability, top_k, 1.0);
    double kept = 0;
    for (TokenId token : tokens) kept += probability[static_cast<std::size_t>(token)];
    double reached = 0;
    std::size_t count = 0;
    while (count < tokens.size() && reached < sampling.top_p * kept) reached += probability[static_cast<std::size_t>(tokens[count++])];
    tokens.resize(std::max<std::size_t>(count, 1));
  } else {
    tokens = most_probable(probability, vocab, sampling.top_p);
  }
  double total = 0;
  for (TokenId token : tokens) total += probability[static_cast<std::size_t>(token)];
  return draw(tokens, probability, total, random.uniform());
}

}  // namespace metarm
