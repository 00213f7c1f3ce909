// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

struct TokenSampling {
  double temperature = 1.0;  // 0: always the most probable token
  double top_p = 1.0;        // the smallest set of most probable tokens whose probability reaches this; in (0, 1]
  std::int64_t top_k = 0;    // the k most probable tokens only; 0: all
};

// Draws a token from softmax(logits / temperature), cut to the top k, then to the top p, one uniform number of `random`. Ties by the lower
// id. Cost: O(V) unless the cut set is large.
TokenId sample_token(std::span<const float> logit_V, const TokenSampling& sampling, RandomStream& random);

// log softmax(logits / temperature)[token], of the distribution before any cut; temperature above 0.
double token_log_prob(std::span<const float> logit_V, TokenId token, double temperature);

}  // namespace metarm
