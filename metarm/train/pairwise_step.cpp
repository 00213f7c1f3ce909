#include "metarm/train/pairwise_step.h"

#include <ATen/ATen.h>

#include <array>
#include <utility>
#include <vector>

#include "metarm/base/random.h"
#include "metarm/objectives/pairwise_loss.h"
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
  at::Tensor sums = at::zeros({3}, at::kFloat).to(setup.trainable->master().flat().device());  // loss, correct, margin
  for (const TreeRange range : pack_trees(own.trees, tokens_per_batch)) {
    const Batch batch = make_batch(std::span(own.trees).subspan(range.begin, range.end - range.begin));
    std::vector<float> margins, weights;
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const EncodedPair& pair = pairs[static_cast<std::size_t>(rows[own.places[i]])];
      margins.push_back(static_cast<float>(pair.margin));
      weights.push_back(static_cast<float>(pair.weight));
    }
    // The masks are a function of the step and of which rows the pass has.
    const ForwardOptions forward{dropout, derive_seed(seed, "dropout", static_cast<std::uint64_t>(step), own.places[range.begin]),
                                 gradient_checkpointing, false};
    const at::Tensor reward_B2 = batch_rewards(reward_model, batch, forward).view({-1, 2});
    const at::Tensor chosen_B = reward_B2.select(1, 0), rejected_B = reward_B2.select(1, 1);
    const at::Tensor loss = pairwise_losses(chosen_B, rejected_B, column(margins, sums.device()), column(weights, sums.device()),
                                            {label_smoothing, center_rewards_coefficient})
                                .sum();
    if (range.end == own.trees.size()) sum.before_last_pass();
    (loss / static_cast<double>(rows.size())).backward();
    const at::NoGradGuard no_grad;
    sums += at::stack({loss, chosen_B.gt(rejected_B).sum().to(at::kFloat), (chosen_B - rejected_B).sum()});
  }
  sums = (sums / static_cast<double>(rows.size())).cpu();
  std::array<double, 3> means = {sums[0].item<double>(), sums[1].item<double>(), sums[2].item<double>()};
  sum.finish();
  setup.ranks.sum(means);
  figures.loss = means[0];
  figures.accuracy = means[1];
  figures.margin = means[2];
  return figures;
}

Json to_json(const PairwiseFigures& figures) {
  return {{"loss", figures.loss},
          {"accuracy", figures.accuracy},
          {"margin", figures.margin},
          {"pairs", figures.pairs},
          {"tokens", figures.tokens}};
}

PairwiseStep make_pairwise_step(const RewardTrainingOptions& training, const ScoringOptions& scoring, const CommonOptions& common) {
  return {training.label_smoothing, training.center_rewards_coefficient,    training.dropout, training.gradient_checkpointing,
          scoring.tokens_per_batch, static_cast<std::uint64_t>(common.seed)};
}

}  // namespace metarm
