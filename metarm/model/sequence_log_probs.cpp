#include "metarm/model/sequence_log_probs.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "metarm/model/token_log_probs.h"

namespace metarm {

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
    std::vector<std::int64_t> begins;
    for (std::size_t i = range.begin; i < range.end; ++i)
      for (const ResponseSequence& sequence : groups[i])
        begins.push_back(static_cast<std::int64_t>(sequence.tokens.size()) - sequence.response_tokens);
    const Batch batch = make_batch(std::span(trees).subspan(range.begin, range.end - range.begin));
    const ResponseTokens tokens = list_response_tokens(batch, begins);
    const at::Tensor log_prob_S = token_log_probs(model, batch, tokens, 1.0, {}).log_prob_S.cpu();
    const float* values = log_prob_S.const_data_ptr<float>();
    std::size_t row = 0;
    for (std::size_t i = range.begin; i < range.end; ++i)
      for (std::size_t j = 0; j < groups[i].size(); ++j, ++row)
        log_probs[i].emplace_back(values + tokens.row_begin[row], values + tokens.row_begin[row + 1]);
    if (progress) progress(static_cast<std::int64_t>(range.end));
  }
  return log_probs;
}

}  // namespace metarm
