#include "metarm/model/sequence_log_probs.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "metarm/base/error.h"
#include "metarm/model/recompute.h"

namespace metarm {

namespace {

constexpr std::int64_t kLogitsAtOnce = 1 << 24;  // 64 MiB of float32

at::Tensor target_log_probs(const Model& model, const at::Tensor& hidden_TD, const at::Tensor& target_T) {
  const at::Tensor logit_TV = language_logits(model, hidden_TD);
  return logit_TV.gather(1, target_T.unsqueeze(1)).squeeze(1) - at::logsumexp(logit_TV, 1);
}

}  // namespace

PredictedTokens predicted_tokens(const Batch& batch, std::span<const std::int64_t> response_tokens) {
  if (static_cast<std::int64_t>(response_tokens.size()) != batch.row_count())
    fail_internal("predicted_tokens: expected {} counts, one a row, got {}", batch.row_count(), response_tokens.size());
  PredictedTokens predicted;
  for (std::size_t row = 0; row < response_tokens.size(); ++row) {
    const Segment& branch = batch.segments[static_cast<std::size_t>(batch.row_segment[row])];
    const std::int64_t length = branch.prefix_length() + branch.length(), begin = length - response_tokens[row];
    if (begin < 1 || begin > length) fail_internal("predicted_tokens: expected fewer response tokens than the row's {}", length);
    const auto index = [&](std::int64_t place) {  // of the row's path among the batch's tokens
      return place < branch.prefix_length() ? branch.prefix_begin + place : branch.begin + place - branch.prefix_length();
    };
    for (std::int64_t place = begin; place < length; ++place) {
      predicted.predictors.push_back(index(place - 1));
      predicted.targets.push_back(batch.tokens[static_cast<std::size_t>(index(place))]);
    }
  }
  return predicted;
}

at::Tensor batch_log_probs(const Model& model, const Batch& batch, std::span<const std::int64_t> response_tokens,
                           const ForwardOptions& options) {
  const PredictedTokens predicted = predicted_tokens(batch, response_tokens);
  if (predicted.targets.empty()) return at::empty({0}, at::kFloat);
  const at::Tensor hidden_TD = run_batch(model, batch, options, predicted.predictors);
  const at::Tensor target_T = at::tensor(predicted.targets, at::kLong).to(hidden_TD.device());
  const std::int64_t total = target_T.size(0), chunk = std::max<std::int64_t>(1, kLogitsAtOnce / model.spec.vocab_size);
  std::vector<at::Tensor> parts;
  for (std::int64_t begin = 0; begin < total; begin += chunk) {
    const std::int64_t end = std::min(begin + chunk, total);
    const auto log_probs = [&model, target = target_T.slice(0, begin, end)](const at::Tensor& hidden) {
      return target_log_probs(model, hidden, target);
    };
    parts.push_back(recompute(log_probs, hidden_TD.slice(0, begin, end)));
  }
  return at::cat(parts);
}

std::vector<GroupLogProbs> sequence_log_probs(const Model& model, std::span<const std::vector<ResponseSequence>> groups,
                                              std::int64_t tokens_per_batch, const std::function<void(std::int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  std::vector<TokenTree> trees;
  for (const std::vector<ResponseSequence>& group : groups) {
    std::vector<TokenIds> sequences;
    for (const ResponseSequence& sequence : group) sequences.push_back(sequence.tokens);
    trees.push_back(make_token_tree(sequences));
  }
  std::vector<GroupLogProbs> log_probs(groups.size());
  for (const TreeRange range : pack_trees(trees, tokens_per_batch)) {
    std::vector<std::int64_t> counts;
    for (std::size_t i = range.begin; i < range.end; ++i)
      for (const ResponseSequence& sequence : groups[i]) counts.push_back(sequence.response_tokens);
    const Batch batch = make_batch(std::span(trees).subspan(range.begin, range.end - range.begin));
    const at::Tensor log_prob_T = batch_log_probs(model, batch, counts, {}).cpu();
    const float* next = log_prob_T.const_data_ptr<float>();
    for (std::size_t i = range.begin; i < range.end; ++i) {
      for (const ResponseSequence& sequence : groups[i]) {
        log_probs[i].emplace_back(next, next + sequence.response_tokens);
        next += sequence.response_tokens;
      }
    }
    if (progress) progress(static_cast<std::int64_t>(range.end));
  }
  return log_probs;
}

}  // namespace metarm
