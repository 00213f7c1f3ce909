#include "metarm/train/pairwise_step.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <array>
#include <utility>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/train/pair_pass.h"

namespace metarm {

namespace {

at::Tensor column(const std::vector<float>& values, at::Device device) { return at::tensor(values, at::kFloat).to(device); }

}  // namespace

RankTrees PairwiseStep::trees(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows) {
  std::vector<TokenTree> trees;
  for (const std::int64_t row : rows) {
    const EncodedPair& pair = pairs[static_cast<std::size_t>(row)];
    trees.push_back(make_token_tree(std::vector<TokenIds>{pair.chosen, pair.rejected}));
  }
  return trees_of_rank(std::move(trees), setup.ranks);
}

PairTargets PairwiseStep::targets(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows,
                                  std::span<const std::size_t> places) {
  std::vector<float> margins, weights, labels;
  for (const std::size_t place : places) {
    const EncodedPair& pair = pairs[static_cast<std::size_t>(rows[place])];
    margins.push_back(static_cast<float>(pair.margin));
    weights.push_back(static_cast<float>(pair.weight));
    labels.push_back(static_cast<float>(pair.label));
  }
  return {column(margins, setup.device()), column(weights, setup.device()), column(labels, setup.device())};
}

ForwardOptions PairwiseStep::forward(std::int64_t step) const {
  return {dropout, derive_seed(seed, "dropout", static_cast<std::uint64_t>(step)), gradient_checkpointing, false};
}

PairwiseFigures PairwiseStep::backward(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows,
                                       std::int64_t step, GradientSum& sum) const {
  if (setup.head_training) return backward_through_head(setup, pairs, rows, step, sum);
  const RankTrees own = trees(setup, pairs, rows);
  PairwiseFigures figures;
  figures.pairs = static_cast<std::int64_t>(rows.size());
  figures.tokens = own.step_tokens;
  at::Tensor sums = at::zeros({4}, at::kFloat).to(setup.device());  // loss, correct, margin, loss of the language model
  for (const TreeRange range : pack_trees(own.trees, tokens_per_batch)) {
    const std::size_t count = range.end - range.begin;
    const PairPass pass =
        run_pairs(setup.reward_model(), std::span(own.trees).subspan(range.begin, count), {.lm_loss = lm_loss_weight > 0}, forward(step));
    const PairTargets of = targets(setup, pairs, rows, std::span(own.places).subspan(range.begin, count));
    const at::Tensor loss = pairwise_losses(pass.chosen_B, pass.rejected_B, of, {label_smoothing, center_rewards_coefficient}).sum();
    const at::Tensor lm_loss = lm_loss_weight > 0 ? (pass.lm_loss_B * of.weight_B).sum() : at::zeros_like(loss);
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
  if (figures.head_penalty) json["head_penalty"] = *figures.head_penalty;
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
