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

PairPass run_pairs(const RewardModel& reward_model, std::span<const TokenTree> pairs, const PairPassOptions& wanted,
                   const ForwardOptions& options) {
  const Model& model = reward_model.model;
  const Batch batch = make_batch(pairs);
  std::vector<std::int64_t> places = pooled_tokens(batch, reward_model.pooling, reward_model.pad_token_id);
  const auto rows = static_cast<std::int64_t>(places.size());
  const ResponseTokens tokens = wanted.lm_loss ? list_chosen_tokens(batch, pairs) : ResponseTokens{};
  places.insert(places.end(), tokens.predictors.begin(), tokens.predictors.end());

  const at::Tensor hidden = run_batch(model, batch, options, places), pooled = hidden.slice(0, 0, rows);
  PairPass pass;
  if (wanted.features) {
    pass.feature_BD = final_norm(model, pooled).to(at::kFloat);
  } else {
    const at::Tensor reward_B2 = head_rewards(model, pooled).view({-1, 2});
    pass.chosen_B = reward_B2.select(1, 0), pass.rejected_B = reward_B2.select(1, 1);
  }
  if (wanted.lm_loss) pass.lm_loss_B = -chosen_means(head_log_probs(model, hidden.slice(0, rows), tokens.targets, 1).log_prob_S, tokens);
  return pass;
}

}  // namespace metarm
