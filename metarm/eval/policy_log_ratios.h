// What two policies A and B, which have one tokenizer, think of the same responses: log p_A(y|x) − log p_B(y|x), from texts. The
// probabilities are those at temperature 1.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/model/common_options.h"
#include "metarm/model/sequence_log_probs.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

// Of one response's tokens y_t, with ρ_t = p_B(y_t) / p_A(y_t).
struct LogRatio {
  std::int64_t tokens = 0;
  double sum = 0;  // Σ_t −log ρ_t = log p_A(y|x) − log p_B(y|x)
  double k3 = 0;   // Σ_t ρ_t − 1 − log ρ_t
};
// From log p_A(y_t) and log p_B(y_t), as many of one as of the other.
LogRatio log_ratio(std::span<const float> policy, std::span<const float> reference);

// Response texts to the policies' tokens: prompt, response, and the token that ends it. The response's tokens are those after the prompt's,
// with its end token unless it is known to have been cut.
class PolicyTokens {
 public:
  // By the first policy's chat template and end tokens. Either may be an adapter's directory; input error where one is no language model.
  PolicyTokens(const std::string& policy, const std::string& reference, const SequenceOptions& sequences);
  PolicyTokens(const PolicyTokens&) = delete;  // the encoders point into it
  PolicyTokens& operator=(const PolicyTokens&) = delete;

  // No prompt: the response is a whole text or conversation, as in a pair's row. nullopt where the response alone is longer than
  // max_length. Input error where the two tokenizers do not give the same tokens.
  std::optional<ResponseSequence> sequence(const std::optional<Content>& prompt, const Content& response, const std::string& where,
                                           bool ended = true);

 private:
  Tokenizer tokenizer_, reference_tokenizer_;
  std::optional<ChatTemplate> chat_;
  Encoder whole_, cut_, reference_;
  std::vector<TokenId> ends_;
};

// By group and response; the policies are one after the other in memory. All ranks call it and get all.
using SequenceGroups = std::vector<std::vector<ResponseSequence>>;
std::vector<std::vector<LogRatio>> log_ratios(const std::string& policy, const std::string& reference, SequenceGroups groups,
                                              const SequenceOptions& sequences, const CommonOptions& common, Ranks& ranks, Log& log);

}  // namespace metarm
