#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <utility>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/train/head_training.h"
#include "metarm/train/pair_pass.h"
#include "metarm/train/pairwise_step.h"

namespace metarm {

namespace {

// Tokens of each branch, float32 [2 n].
at::Tensor branch_lengths(std::span<const TokenTree> trees, at::Device device) {
  std::vector<float> lengths;
  for (const TokenTree& tree : trees)
    for (const TokenIds& branch : tree.branches) lengths.push_back(static_cast<float>(branch.size()));
  return at::tensor(lengths, at::kFloat).to(device);
}

}  // namespace

// Features first, without gradients but for the last microbatch; the head's loss on all of them, and its gradient with respect to the
// features; then each microbatch again, for the features' gradient with respect to the weights.
PairwiseFigures PairwiseStep::backward_through_head(const TrainingSetup& setup, std::span<const EncodedPair> pairs,
                                                    std::span<const std::int64_t> rows, std::int64_t step, GradientSum& sum) const {
  const RankTrees own = trees(setup, pairs, rows);
  const std::vector<TreeRange> ranges = pack_trees(own.trees, tokens_per_batch);
  const auto pass_of = [&](const TreeRange& range) {
    return run_pairs(setup.reward_model(), std::span(own.trees).subspan(range.begin, range.end - range.begin),
                     {.lm_loss = lm_loss_weight > 0, .features = true}, forward(step));
  };
  std::vector<at::Tensor> features;
  PairPass last;
  for (const TreeRange& range : ranges) {
    const at::AutoGradMode gradients(range.end == own.trees.size());
    last = pass_of(range);
    features.push_back(last.feature_BD.detach());
  }

  const at::Tensor feature_BD = at::cat(features).requires_grad_(true);
  const PairTargets of = targets(setup, pairs, rows, own.places);
  const TrainedRewards made = setup.head_training->rewards(feature_BD, branch_lengths(own.trees, setup.device()), setup.head_leaves(),
                                                           derive_seed(seed, "head", static_cast<std::uint64_t>(step)));
  const at::Tensor reward_B2 = made.reward_B.view({-1, 2}), chosen_B = reward_B2.select(1, 0), rejected_B = reward_B2.select(1, 1);
  const at::Tensor loss = pairwise_losses(chosen_B, rejected_B, of, {label_smoothing, center_rewards_coefficient}).mean();
  (loss + made.penalty).backward();

  double lm_loss = 0;
  for (const TreeRange& range : ranges) {
    const bool is_last = range.end == own.trees.size();
    const PairPass pass = is_last ? last : pass_of(range);
    const auto begin = static_cast<std::int64_t>(range.begin), end = static_cast<std::int64_t>(range.end);
    at::Tensor part = (pass.feature_BD * feature_BD.grad().slice(0, 2 * begin, 2 * end)).sum();
    if (lm_loss_weight > 0) {
      const at::Tensor of_part = (pass.lm_loss_B * of.weight_B.slice(0, begin, end)).sum() / static_cast<double>(rows.size());
      lm_loss += of_part.item<double>();
      part = part + lm_loss_weight * of_part;
    }
    if (is_last) sum.before_last_pass();
    part.backward();
  }
  sum.finish();
  setup.head_training->advance(feature_BD.detach(), setup.head_masters());

  PairwiseFigures figures;
  figures.loss = loss.item<double>();
  figures.accuracy = chosen_B.gt(rejected_B).to(at::kFloat).mean().item<double>();
  figures.margin = (chosen_B - rejected_B).mean().item<double>();
  figures.pairs = static_cast<std::int64_t>(rows.size());
  figures.tokens = own.step_tokens;
  if (lm_loss_weight > 0) figures.lm_loss = lm_loss;
  figures.head_penalty = made.penalty.item<double>();
  return figures;
}

}  // namespace metarm
