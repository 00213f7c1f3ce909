// What a language model gives to the tokens of responses, for whole groups of them: log p(y_t | prompt, y_<t), without gradients.
#pragma once

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

// Each group is one token tree, several trees one forward pass of up to tokens_per_batch tokens (token_log_probs.h). By group, sequence and
// response token. `progress` is called with the number of groups done.
using GroupLogProbs = std::vector<std::vector<float>>;
std::vector<GroupLogProbs> sequence_log_probs(const Model& model, std::span<const std::vector<ResponseSequence>> groups,
                                              std::int64_t tokens_per_batch, const std::function<void(std::int64_t done)>& progress = {});

}  // namespace metarm
