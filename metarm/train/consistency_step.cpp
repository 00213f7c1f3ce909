#include "metarm/train/consistency_step.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "metarm/base/random.h"
#include "metarm/objectives/consistency_loss.h"
#include "metarm/train/rank_trees.h"

namespace metarm {

void ConsistencyFigures::add_to(Json& figures) const {
  if (groups == 0) return;
  figures["consistency"] = loss;
  figures["consistency_groups"] = groups;
  figures["tokens"] = figures["tokens"].get<std::int64_t>() + tokens;
}

ConsistencyStep::ConsistencyStep(const ConsistencyOptions& options, std::span<const EncodedGroup> groups, const TrainingSetup& setup,
                                 const TrainingOptions& training, const ScoringOptions& scoring, const CommonOptions& common)
    : setup_(setup),
      coef_(options.consistency_coef),
      dropout_(training.dropout),
      gradient_checkpointing_(training.gradient_checkpointing),
      batch_size_(options.consistency_batch_size),
      tokens_per_batch_(std::max<std::int64_t>(scoring.tokens_per_batch / 2, 1)),  // both passes are held at once
      seed_(static_cast<std::uint64_t>(common.seed)),
      groups_(options.consistency_coef > 0 ? groups : std::span<const EncodedGroup>()),
      order_(std::max<std::int64_t>(std::ssize(groups_), 1), seed_, "unlabelled", training.shuffle) {}

ForwardOptions ConsistencyStep::forward(std::int64_t step, std::uint64_t pass) const {
  return {dropout_, derive_seed(seed_, "consistency", static_cast<std::uint64_t>(step), pass), gradient_checkpointing_, false};
}

ConsistencyFigures ConsistencyStep::backward(std::int64_t step) {
  ConsistencyFigures figures;
  if (groups_.empty()) return figures;
  std::vector<TokenTree> step_trees;
  for (const std::int64_t row : order_.stream(step, std::min<std::int64_t>(batch_size_, std::ssize(groups_))))
    step_trees.push_back(make_token_tree(groups_[static_cast<std::size_t>(row)].responses));
  figures.groups = std::ssize(step_trees);
  const RankTrees own = trees_of_rank(std::move(step_trees), setup_.ranks);
  figures.tokens = 2 * own.step_tokens;

  std::array<double, 1> total = {0};
  for (const TreeRange range : pack_trees(own.trees, tokens_per_batch_)) {
    const auto part = std::span(own.trees).subspan(range.begin, range.end - range.begin);
    std::vector<std::int64_t> sizes;
    for (const TokenTree& tree : part) sizes.push_back(std::ssize(tree.branches));
    const Batch batch = make_batch(part);
    const at::Tensor reward_B = batch_rewards(setup_.reward_model(), batch, forward(step, 0));
    const at::Tensor other_B = batch_rewards(setup_.reward_model(), batch, forward(step, 1));
    const at::Tensor loss = consistency_losses(reward_B, other_B, sizes).sum() / static_cast<double>(figures.groups);
    (coef_ * loss).backward();
    total[0] += loss.item<double>();
  }
  setup_.ranks.sum(total);
  figures.loss = total[0];
  return figures;
}

}  // namespace metarm
