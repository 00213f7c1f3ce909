#include "metarm/train/pair_pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "metarm/model/token_log_probs.h"

namespace metarm {

namespace {

// Of the chosen rows all tokens of the branch that another predicts, of the rejected ones none.
ResponseTokens list_chosen_tokens(const Batch& batch, std::span<const TokenTree> pairs) {
  std::vector<std::int64_t> begins;
  for (const TokenTree& pair : pairs) {
    const auto prompt = static_cast<std::int64_t>(pair.prompt.size());
    begins.push_back(std::max<std::int64_t>(prompt, 1));
    begins.push_back(prompt + static_cast<std::int64_t>(pair.branches[1].size()));
  }
  return list_response_tokens(batch, begins);
}

// Means over each chosen row's tokens, float32 [B].
at::Tensor chosen_means(const at::Tensor& value_S, const ResponseTokens& tokens) {
  const at::Tensor sum_B = sum_rows(value_S, tokens.row_begin).view({-1, 2}).select(1, 0);
  std::vector<float> counts;
  for (std::size_t row = 0; row + 1 < tokens.row_begin.size(); row += 2)
    counts.push_back(static_cast<float>(std::max<std::int64_t>(tokens.row_begin[row + 1] - tokens.row_begin[row], 1)));
  return sum_B / at::tensor(counts, at::kFloat).to(sum_B.device());
}

}  // namespace

PairPass run_pairs(const RewardModel& reward_model, std::span<const TokenTree> pairs, bool lm_loss, const ForwardOptions& options) {
  const Batch batch = make_batch(pairs);
  std::vector<std::int64_t> wanted = pooled_tokens(batch, reward_model.pooling, reward_model.pad_token_id);
  const auto rows = static_cast<std::int64_t>(wanted.size());
  const ResponseTokens tokens = lm_loss ? list_chosen_tokens(batch, pairs) : ResponseTokens{};
  wanted.insert(wanted.end(), tokens.predictors.begin(), tokens.predictors.end());

  const at::Tensor hidden = run_batch(reward_model.model, batch, options, wanted);
  const at::Tensor reward_B2 = head_rewards(reward_model.model, hidden.slice(0, 0, rows)).view({-1, 2});
  PairPass pass{reward_B2.select(1, 0), reward_B2.select(1, 1), {}};
  if (lm_loss) {
    const TokenLogProbs of_tokens = head_log_probs(reward_model.model, hidden.slice(0, rows), tokens.targets, 1);
    pass.lm_loss_B = -chosen_means(of_tokens.log_prob_S, tokens);
  }
  return pass;
}

}  // namespace metarm
