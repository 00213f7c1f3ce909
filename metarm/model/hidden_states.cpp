#include "metarm/model/hidden_states.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace metarm {

at::Tensor hidden_states(const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch,
                         const std::function<void(std::int64_t)>& progress) {
  const at::NoGradGuard no_grad;
  const std::vector<TokenTree> trees = make_token_trees(groups);
  std::vector<at::Tensor> parts;
  for (const TreeRange range : pack_trees(trees, tokens_per_batch)) {
    const Batch batch = make_batch(std::span(trees).subspan(range.begin, range.end - range.begin));
    const std::vector<std::int64_t> pooled = pooled_tokens(batch, reward_model.pooling, reward_model.pad_token_id);
    const at::Tensor hidden_BD = final_norm(reward_model.model, run_batch(reward_model.model, batch, {}, pooled));
    parts.push_back(hidden_BD.to(at::kFloat).cpu());
    if (progress) progress(static_cast<std::int64_t>(range.end));
  }
  return at::cat(parts);
}

}  // namespace metarm
