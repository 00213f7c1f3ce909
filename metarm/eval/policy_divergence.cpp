#include "metarm/eval/policy_divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/model/open.h"
#include "metarm/model/response_text.h"

namespace metarm {

namespace {

using SequenceGroups = std::vector<std::vector<ResponseSequence>>;

// A response list may be the whole conversation: then what it answers is its own beginning.
Content answered_prompt(const Content& prompt, const Content& response) {
  const auto* conversation = std::get_if<Conversation>(&response);
  if (conversation == nullptr) return prompt;
  if (conversation->front().role != "assistant") return implicit_prompt(response);
  const auto* text = std::get_if<std::string>(&prompt);
  if (text == nullptr) return prompt;
  return text->empty() ? Conversation{} : Conversation{{"user", *text}};
}

// Response texts to a policy's tokens: prompt, response, and the token that ends it.
class PolicyTokens {
 public:
  PolicyTokens(const std::string& policy, const std::string& reference, const ScoringOptions& scoring)
      : tokenizer_(Tokenizer::load(policy)),
        reference_tokenizer_(Tokenizer::load(reference)),
        chat_(load_chat_template(policy, tokenizer_, scoring.chat_template)),
        whole_(tokenizer_, chat_ ? &*chat_ : nullptr, 0),
        cut_(tokenizer_, chat_ ? &*chat_ : nullptr, scoring.max_length),
        reference_(reference_tokenizer_, chat_ ? &*chat_ : nullptr, 0),
        ends_(list_end_tokens(tokenizer_, load_checkpoint_config(policy))) {}

  // nullopt where the response alone is longer than max_length.
  std::optional<ResponseSequence> sequence(const Content& prompt, const Content& response, const std::string& where) {
    TokenIds tokens = *whole_.sequence(prompt, response, where);
    if (tokens != reference_.sequence(prompt, response, where))
      fail_input("{}: expected the same tokens from --policy's and --reference-policy's tokenizers, got others; the two need one", where);
    const TokenIds before = whole_.prompt(answered_prompt(prompt, response), 0, where);
    const auto shared = std::ranges::mismatch(tokens, before).in1 - tokens.begin();
    std::optional<TokenIds> kept = cut_.sequence(prompt, response, where);
    if (!kept) return std::nullopt;
    // What a template prints after the end token was nobody's choice.
    std::ptrdiff_t after_end = 0;
    const auto end = std::find_first_of(tokens.rbegin(), tokens.rend() - shared, ends_.begin(), ends_.end());
    if (end != tokens.rend() - shared) after_end = end - tokens.rbegin();
    kept->resize(kept->size() - static_cast<std::size_t>(after_end));
    const auto count = static_cast<std::int64_t>(tokens.size()) - shared - after_end;
    const std::int64_t predicted = std::min(count, static_cast<std::int64_t>(kept->size()) - 1);
    if (predicted < 1) fail_input("{}: prompt: expected at least one token, got none", where);
    return ResponseSequence{std::move(*kept), predicted};
  }

 private:
  Tokenizer tokenizer_, reference_tokenizer_;
  std::optional<ChatTemplate> chat_;
  Encoder whole_, cut_, reference_;
  std::vector<TokenId> ends_;
};

std::vector<GroupLogProbs> log_probs_of(const std::string& directory, const SequenceGroups& groups, const ScoringOptions& scoring,
                                        const CommonOptions& common, const char* task, Log& log) {
  const at::Device device = resolve_device(common);
  const LoadedLanguageModel loaded = load_language_model(directory, resolve_dtype(common, device, Work::scoring), device, log);
  const auto total = static_cast<std::int64_t>(groups.size());
  return sequence_log_probs(loaded.model, groups, scoring.tokens_per_batch,
                            [&](std::int64_t done) { log.progress(task, done, total, ""); });
}

// The groups that this rank computes, in ascending order.
std::vector<std::int64_t> own_groups(const SequenceGroups& groups, const Ranks& ranks) {
  std::vector<std::int64_t> costs;
  for (const auto& group : groups) {
    std::int64_t tokens = 0;
    for (const ResponseSequence& sequence : group) tokens += static_cast<std::int64_t>(sequence.tokens.size());
    costs.push_back(tokens);
  }
  return rows_of_rank(costs, ranks.rank(), ranks.size());
}

}  // namespace

Estimate ratio_estimate(std::span<const double> sums, std::span<const double> counts) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double sum = 0, count = 0, squares = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sum += sums[i];
    count += counts[i];
  }
  if (!(count > 0)) return {kNone, kNone};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double residual = sums[i] - sum / count * counts[i];
    squares += residual * residual;
  }
  const auto clusters = static_cast<double>(sums.size());
  return {sum / count, clusters > 1 ? std::sqrt(clusters / (clusters - 1) * squares) / count : kNone};
}

DivergenceSums divergence_sums(const GroupLogProbs& policy, const GroupLogProbs& reference) {
  DivergenceSums sums;
  for (std::size_t i = 0; i < policy.size(); ++i) {
    ++sums.responses;
    for (std::size_t t = 0; t < policy[i].size(); ++t) {
      const double log_ratio = static_cast<double>(policy[i][t]) - reference[i][t];  // −log ρ
      ++sums.tokens;
      sums.k1 += log_ratio;
      sums.k3 += std::expm1(-log_ratio) + log_ratio;
    }
  }
  return sums;
}

PolicyDivergence policy_divergence(std::span<const DivergenceSums> groups) {
  PolicyDivergence divergence;
  std::vector<double> responses, tokens, k1, k3;
  for (const DivergenceSums& group : groups) {
    if (group.responses == 0) continue;
    responses.push_back(group.responses);
    tokens.push_back(group.tokens);
    k1.push_back(group.k1);
    k3.push_back(group.k3);
    ++divergence.groups;
    divergence.responses += static_cast<std::int64_t>(group.responses);
    divergence.tokens += static_cast<std::int64_t>(group.tokens);
  }
  divergence.k1_per_response = ratio_estimate(k1, responses);
  divergence.k3_per_response = ratio_estimate(k3, responses);
  divergence.k1_per_token = ratio_estimate(k1, tokens);
  divergence.k3_per_token = ratio_estimate(k3, tokens);
  return divergence;
}

PolicyDivergence measure_policy_divergence(const std::string& policy, const std::string& reference, std::span<const ResponseGroup> groups,
                                           const ScoringOptions& scoring, const CommonOptions& common, Ranks& ranks, Log& log) {
  std::int64_t too_long = 0;
  SequenceGroups sequences(groups.size());
  PolicyTokens encode(policy, reference, scoring);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (const Content& response : groups[i].responses) {
      if (std::optional<ResponseSequence> sequence = encode.sequence(groups[i].prompt, response, groups[i].where))
        sequences[i].push_back(std::move(*sequence));
      else
        ++too_long;
    }
  }
  const std::vector<std::int64_t> own = own_groups(sequences, ranks);
  SequenceGroups mine;
  for (const std::int64_t group : own) mine.push_back(std::move(sequences[static_cast<std::size_t>(group)]));
  const std::vector<GroupLogProbs> of_policy = log_probs_of(policy, mine, scoring, common, "log probabilities of the policy", log),
                                   of_reference = log_probs_of(reference, mine, scoring, common, "log probabilities of the reference", log);

  std::vector<double> flat(4 * groups.size(), 0.0);  // each group from one rank, all others add 0
  for (std::size_t i = 0; i < own.size(); ++i) {
    const DivergenceSums sums = divergence_sums(of_policy[i], of_reference[i]);
    const std::size_t place = 4 * static_cast<std::size_t>(own[i]);
    flat[place] = sums.responses, flat[place + 1] = sums.tokens, flat[place + 2] = sums.k1, flat[place + 3] = sums.k3;
  }
  ranks.sum(flat);
  std::vector<DivergenceSums> all;
  for (std::size_t i = 0; i < flat.size(); i += 4) all.push_back({flat[i], flat[i + 1], flat[i + 2], flat[i + 3]});
  PolicyDivergence divergence = policy_divergence(all);
  divergence.too_long = too_long;
  if (too_long > 0) log.warn(fmt::format("{} responses left out of the policies' divergence: alone longer than --max-length", too_long));
  return divergence;
}

}  // namespace metarm
