#include "metarm/model/token_sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <ranges>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/model/cpu_kernels.h"

namespace metarm {

namespace {

struct ByWeight {
  std::span<const float> weight;
  bool operator()(TokenId a, TokenId b) const {
    const float of_a = weight[static_cast<std::size_t>(a)], of_b = weight[static_cast<std::size_t>(b)];
    return of_a != of_b ? of_a > of_b : a < b;
  }
};

// The heaviest of `tokens` in order, at most `count` of them and no more than it takes to reach `share`. Sorts growing heads, since the set
// is nearly always small.
std::vector<TokenId> heaviest(std::vector<TokenId> tokens, std::span<const float> weight, std::size_t count, double share) {
  count = std::min(count, tokens.size());
  double reached = 0;
  std::size_t sorted = 0;
  for (std::size_t head = 64; sorted < count && reached < share; head *= 8) {
    const std::size_t end = std::min(head, count);
    const auto from = tokens.begin() + static_cast<std::ptrdiff_t>(sorted), to = tokens.begin() + static_cast<std::ptrdiff_t>(end);
    if (to != tokens.end()) std::nth_element(from, to, tokens.end(), ByWeight{weight});
    std::sort(from, to, ByWeight{weight});
    for (; sorted < end && reached < share; ++sorted) reached += weight[static_cast<std::size_t>(tokens[sorted])];
  }
  tokens.resize(sorted);
  return tokens;
}

// Tokens of at least this weight, by id.
std::vector<TokenId> tokens_from(std::span<const float> weight, double least) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < weight.size(); ++i)
    if (weight[i] >= least) tokens.push_back(static_cast<TokenId>(i));
  return tokens;
}

double total_weight(std::span<const float> weight, std::span<const TokenId> tokens) {
  double total = 0;
  for (const TokenId token : tokens) total += weight[static_cast<std::size_t>(token)];
  return total;
}

template <class Tokens>
TokenId draw(const Tokens& tokens, std::span<const float> weight, double total, double uniform) {
  double left = uniform * total;
  TokenId last = 0;
  for (const TokenId token : tokens) {
    last = token;
    if ((left -= weight[static_cast<std::size_t>(token)]) < 0) break;
  }
  return last;
}

}  // namespace

TokenId sample_token(std::span<const float> logits, const TokenSampling& sampling, RandomStream& random) {
  if (sampling.temperature <= 0) return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  static thread_local std::vector<float> weight;
  weight.resize(logits.size());
  cpu_kernels().exponentials(logits.data(), static_cast<std::int64_t>(logits.size()), static_cast<float>(1 / sampling.temperature),
                             weight.data());
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  if (!std::isfinite(total)) fail_input("policy: expected finite logits, got NaN; check its weights, or take --dtype float32");
  const std::size_t vocab = weight.size();
  const auto top_k = static_cast<std::size_t>(sampling.top_k);
  std::vector<TokenId> tokens;
  if (top_k > 0 && top_k < vocab) {
    tokens = heaviest(tokens_from(weight, 0), weight, top_k, std::numeric_limits<double>::infinity());
    const double kept = total_weight(weight, tokens);
    if (sampling.top_p < 1) tokens = heaviest(std::move(tokens), weight, top_k, sampling.top_p * kept);
  } else if (sampling.top_p < 1) {
    // Lighter ones hold less than what the top p leaves, even all together.
    const double least = (1 - sampling.top_p) * total / static_cast<double>(vocab);
    tokens = heaviest(tokens_from(weight, least), weight, vocab, sampling.top_p * total);
  } else {
    return draw(std::views::iota(TokenId{0}, static_cast<TokenId>(vocab)), weight, total, random.uniform());
  }
  return draw(tokens, weight, total_weight(weight, tokens), random.uniform());
}

double token_log_prob(std::span<const float> logits, TokenId token, double temperature) {
  static thread_local std::vector<float> weight;
  weight.resize(logits.size());
  cpu_kernels().exponentials(logits.data(), static_cast<std::int64_t>(logits.size()), static_cast<float>(1 / temperature), weight.data());
  const double total = std::accumulate(weight.begin(), weight.end(), 0.0);
  const float largest = *std::max_element(logits.begin(), logits.end());
  return (logits[static_cast<std::size_t>(token)] - largest) / temperature - std::log(total);
}

}  // namespace metarm
