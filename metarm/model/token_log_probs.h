// What a language model thinks of given tokens: log-probabilities of the responses of a batch's rows, and the entropies of the
// distributions that they were drawn from.
//
// The layers run over the whole batch; the last one, and the head, for the tokens alone that predict a response's. No matrix of all logits
// is held: the head goes over a few rows at a time, and its logits are made again in the backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/model/transformer.h"

namespace metarm {

// The tokens of a batch's responses, row after row: S in all, those of row b at [row_begin[b], row_begin[b + 1]).
struct ResponseTokens {
  std::vector<std::int64_t> predictors;  // S: indices in [0, N) of the tokens before them on their paths
  std::vector<std::int64_t> targets;     // S: their ids
  std::vector<std::int64_t> row_begin;   // B + 1
  std::int64_t count() const { return static_cast<std::int64_t>(targets.size()); }
  std::int64_t row_count() const { return static_cast<std::int64_t>(row_begin.size()) - 1; }
};

// begins[b], at least 1: the place of the first token of row b's response on its path, counted from its tree's first token.
ResponseTokens list_response_tokens(const Batch& batch, std::span<const std::int64_t> begins);

// With z = logits / temperature, p = softmax(z):
//
//   log_prob = log p[target]      entropy = -sum over v of p[v] log p[v], in nats
struct TokenLogProbs {
  at::Tensor log_prob_S, entropy_S;  // float32, with first derivatives where the weights ask for them
};
// For the hidden states at predictors, [S, D] before the final norm, and the tokens that follow.
TokenLogProbs head_log_probs(const Model& model, const at::Tensor& hidden_SD, const std::vector<std::int64_t>& targets, double temperature);
TokenLogProbs token_log_probs(const Model& model, const Batch& batch, const ResponseTokens& tokens, double temperature,
                              const ForwardOptions& options);

// Sums over each row's tokens, float32 [B], of values [S].
at::Tensor sum_rows(const at::Tensor& value_S, std::span<const std::int64_t> row_begin);

}  // namespace metarm
