#include "metarm/train/pairwise_step.h"

#include <ATen/ATen.h>

#include <array>
#include <utility>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/objectives/pairwise_loss.h"
#include "metarm/train/pair_pass.h"
#include "metarm/train/rank_trees.h"

namespace metarm {

namespace {

at::Tensor column(const std::vector<float>& values, at::Device device) { return at::tensor(values, at::kFloat).to(device); }

}  // namespace

PairwiseFigures PairwiseStep::backward(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows,
                                       std::int64_t step, GradientSum& sum) const {
  const RewardModel& reward_model = setup.reward_model();
  std::vector<TokenTree> trees;
  for (const std::int64_t row : rows) {
    const EncodedPair& pair = pairs[static_cast<std::size_t>(row)];
    trees.push_back(make_token_tree(std::vector<TokenIds>{pair.chosen, pair.rejected}));
  }
  const RankTrees own = trees_of_rank(std::move(trees), setup.ranks);

  PairwiseFigures figures;
  figures.pairs = static_cast<std::int64_t>(rows.size());
  figures.tokens = own.step_tokens;
  const at::Device device = setup.device();
  at::Tensor sums = at::zeros({4}, at::kFloat).to(device);  // loss, correct, margin, loss of the language model
  for (const TreeRange range : pack_trees(own.trees, tokens_per_batch)) {
    std::vector<float> margins, weights, labels;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const EncodedPair& pair = pairs[static_cast<std::size_t>(rows[own.places[i]])];
      margins.push_back(static_cast<float>(pair.margin));
      weights.push_back(static_cast<float>(pair.weight));
      labels.push_back(static_cast<float>(pair.label));
    }
    // The masks are a function of the step and of which rows the pass has.
    const ForwardOptions forward{dropout, derive_seed(seed, "dropout", static_cast<std::uint64_t>(step), own.places[range.begin]),
                                 gradient_checkpointing, false};
    const PairPass pass =
        run_pairs(reward_model, std::span(own.trees).subspan(range.begin, range.end - range.begin), lm_loss_weight > 0, forward);
    const PairTargets targets{column(margins, device), column(weights, device), column(labels, device)};
    const at::Tensor loss = pairwise_losses(pass.chosen_B, pass.rejected_B, targets, {label_smoothing, center_rewards_coefficient}).sum();
    const at::Tensor lm_loss = lm_loss_weight > 0 ? (pass.lm_loss_B * targets.weight_B).sum() : at::zeros_like(loss);
    if (range.end == own.trees.size()) sum.before_last_pass();
    ((loss + lm_loss_weight * lm_loss) / static_cast<double>(rows.size())).backward();
    const at::NoGradGuard no_grad;
    sums += at::stack({loss, pass.chosen_B.gt(pass.rejected_B).sum().to(at::kFloat), (pass.chosen_B - pass.rejected_B).sum(), lm_loss});
  }
  sums = (sums / static_cast<double>(rows.size())).cpu();
  std::array<double, 4> means = {sums[0].item<double>(), sums[1].item<double>(), sums[2].item<double>(), sums[3].item<double>()};
  sum.finish();
  setup.ranks.sum(means);
  figures.loss = means[0];
  figures.accuracy = means[1];
  figures.margin = means[2];
  if (lm_loss_weight > 0) figures.lm_loss = means[3];
  return figures;
}

Json to_json(const PairwiseFigures& figures) {
  Json json = {{"loss", figures.loss},
               {"accuracy", figures.accuracy},
               {"margin", figures.margin},
               {"pairs", figures.pairs},
               {"tokens", figures.tokens}};
  if (figures.lm_loss) json["lm_loss"] = *figures.lm_loss;
  return json;
}

PairwiseStep make_pairwise_step(const RewardTrainingOptions& training, const ScoringOptions& scoring, const CommonOptions& common) {
  return {training.label_smoothing,
          training.center_rewards_coefficient,
          training.lm_loss_weight,
          training.dropout,
          training.gradient_checkpointing,
          scoring.tokens_per_batch,
          static_cast<std::uint64_t>(common.seed)};
}

}  // namespace metarm
