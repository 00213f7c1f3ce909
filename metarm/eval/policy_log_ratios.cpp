#include "metarm/eval/policy_log_ratios.h"

#include <cmath>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/model/lora.h"
#include "metarm/model/open.h"
#include "metarm/model/response_text.h"

namespace metarm {

namespace {

// Of a policy or, for an adapter, of its base. What is none is said here, before any pass over the responses.
CheckpointConfig load_policy_config(const std::string& directory) {
  CheckpointConfig config = load_checkpoint_config(is_adapter(directory) ? adapter_base(directory) : directory);
  if (config.head != HeadKind::language_model)
    fail_input("{}: expected a causal language model, got {}", directory, config.json["architectures"][0].get<std::string>());
  return config;
}

std::vector<GroupLogProbs> log_probs_of(const std::string& directory, const SequenceGroups& groups, const SequenceOptions& sequences,
                                        const CommonOptions& common, const char* task, Log& log) {
  const at::Device device = resolve_device(common);
  const LoadedLanguageModel loaded = load_language_model(directory, resolve_dtype(common, device, Work::scoring), device, log);
  const auto total = static_cast<std::int64_t>(groups.size());
  return sequence_log_probs(loaded.model, groups, sequences.tokens_per_batch,
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

// Each response comes from one rank, all others add 0.
void sum_over_ranks(std::vector<std::vector<LogRatio>>& groups, Ranks& ranks) {
  std::vector<double> flat;
  for (const std::vector<LogRatio>& group : groups)
    for (const LogRatio& ratio : group) flat.insert(flat.end(), {static_cast<double>(ratio.tokens), ratio.sum, ratio.k3});
  ranks.sum(flat);
  const double* next = flat.data();
  for (std::vector<LogRatio>& group : groups)
    for (LogRatio& ratio : group) {
      ratio = {static_cast<std::int64_t>(next[0]), next[1], next[2]};
      next += 3;
    }
}

}  // namespace

LogRatio log_ratio(std::span<const float> policy, std::span<const float> reference) {
  LogRatio ratio;
  for (std::size_t t = 0; t < policy.size(); ++t) {
    const double of_token = static_cast<double>(policy[t]) - reference[t];  // −log ρ
    ++ratio.tokens;
    ratio.sum += of_token;
    ratio.k3 += std::expm1(-of_token) + of_token;
  }
  return ratio;
}

PolicyTokens::PolicyTokens(const std::string& policy, const std::string& reference, const SequenceOptions& sequences)
    : tokenizer_(Tokenizer::load(tokenizer_directory(policy))),
      reference_tokenizer_(Tokenizer::load(tokenizer_directory(reference))),
      chat_(load_chat_template(policy, tokenizer_, sequences.chat_template)),
      whole_(tokenizer_, chat_ ? &*chat_ : nullptr, 0),
      cut_(tokenizer_, chat_ ? &*chat_ : nullptr, sequences.max_length),
      reference_(reference_tokenizer_, chat_ ? &*chat_ : nullptr, 0),
      ends_(list_end_tokens(tokenizer_, load_policy_config(policy))) {
  load_policy_config(reference);
}

std::optional<ResponseSequence> PolicyTokens::sequence(const std::optional<Content>& prompt, const Content& response,
                                                       const std::string& where, bool ended) {
  if (whole_.sequence(prompt, response, where) != reference_.sequence(prompt, response, where))
    fail_input("{}: expected the same tokens from --policy's and --reference-policy's tokenizers, got others; the two need one", where);
  std::vector<EncodedResponse> encoded = cut_.responses(prompt, std::span(&response, 1), where);
  if (cut_.report().no_response > 0) fail_input("{}: prompt: expected at least one token, got none", where);
  if (encoded.empty()) return std::nullopt;
  EncodedResponse& kept = encoded.front();
  drop_unchosen_end(kept.tokens, kept.begin, ended, ends_);
  const std::int64_t length = kept.length();
  return ResponseSequence{std::move(kept.tokens), length};
}

std::vector<std::vector<LogRatio>> log_ratios(const std::string& policy, const std::string& reference, SequenceGroups groups,
                                              const SequenceOptions& sequences, const CommonOptions& common, Ranks& ranks, Log& log) {
  std::vector<std::vector<LogRatio>> ratios;
  for (const auto& group : groups) ratios.emplace_back(group.size());
  const std::vector<std::int64_t> own = own_groups(groups, ranks);
  SequenceGroups mine;
  for (const std::int64_t group : own) mine.push_back(std::move(groups[static_cast<std::size_t>(group)]));
  const std::vector<GroupLogProbs> of_policy = log_probs_of(policy, mine, sequences, common, "log probabilities of the policy", log),
                                   of_reference =
                                       log_probs_of(reference, mine, sequences, common, "log probabilities of the reference", log);
  for (std::size_t i = 0; i < own.size(); ++i)
    for (std::size_t j = 0; j < mine[i].size(); ++j)
      ratios[static_cast<std::size_t>(own[i])][j] = log_ratio(of_policy[i][j], of_reference[i][j]);
  sum_over_ranks(ratios, ranks);
  return ratios;
}

}  // namespace metarm
