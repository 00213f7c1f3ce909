// What a language model gives to the tokens of responses: log p(y_t | prompt, y_<t). Logits are made at the response tokens alone, and
// some rows at a time: never a matrix of all tokens by the vocabulary.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metarm/model/transformer.h"

namespace metarm {

struct ResponseSequence {
  TokenIds tokens;                   // prompt and response
  std::int64_t response_tokens = 0;  // the response: so many tokens at the end; fewer than all, since the first has nothing before it
};

// Of a batch's rows, each row's last response_tokens[b] tokens, row after row; T in all.
struct PredictedTokens {
  std::vector<std::int64_t> predictors;  // T: the index in [0, N) of the token before, whose hidden state predicts it
  std::vector<std::int64_t> targets;     // T: its id
};
PredictedTokens predicted_tokens(const Batch& batch, std::span<const std::int64_t> response_tokens);

// Their log probabilities, float32 [T], with gradients where the weights ask for them. Logits are computed again in the backward pass,
// which `model` must outlive.
at::Tensor batch_log_probs(const Model& model, const Batch& batch, std::span<const std::int64_t> response_tokens,
                           const ForwardOptions& options);

// Without gradients, for groups of sequences; each group is one token tree, several trees one forward pass of up to tokens_per_batch
// tokens. By group, sequence and response token. `progress` is called with the number of groups done.
using GroupLogProbs = std::vector<std::vector<float>>;
std::vector<GroupLogProbs> sequence_log_probs(const Model& model, std::span<const std::vector<ResponseSequence>> groups,
                                              std::int64_t tokens_per_batch, const std::function<void(std::int64_t done)>& progress = {});

}  // namespace metarm
