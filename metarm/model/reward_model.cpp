#include "metarm/model/reward_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <numeric>

#include "metarm/base/error.h"

namespace metarm {

at::Tensor batch_rewards(const RewardModel& reward_model, const Batch& batch, const ForwardOptions& options) {
  return batch_rewards(reward_model.model, batch, pooled_tokens(batch, reward_model.pooling, reward_model.pad_token_id), options);
}

std::vector<std::vector<float>> score_groups(const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups,
                                             std::int64_t tokens_per_batch, const std::function<void(std::int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const std::vector<TokenTree> trees = make_token_trees(groups);
  std::vector<std::vector<float>> rewards(groups.size());
  for (const TreeRange range : pack_trees(trees, tokens_per_batch)) {
    const Batch batch = make_batch(std::span(trees).subspan(range.begin, range.end - range.begin));
    if (batch.row_count() > 0) {
      const at::Tensor reward_B = batch_rewards(reward_model, batch, {}).cpu();
      const float* next = reward_B.const_data_ptr<float>();
      for (std::size_t i = range.begin; i < range.end; ++i) {
        rewards[i].assign(next, next + groups[i].size());
        next += groups[i].size();
      }
    }
    if (progress) progress(static_cast<std::int64_t>(range.end));
  }
  return rewards;
}

}  // namespace metarm
