// The gradient of the pairwise loss on the pairs of a step, by microbatches of up to tokens_per_batch tokens.
//
// With lm_loss_weight λ, the language-model loss on chosen responses keeps the hidden states useful for more than the reward (as GRM does,
// Yang et al. 2024, arXiv 2406.10216):   L + λ · mean over pairs of w · mean over the chosen's tokens of −log p(token)
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "metarm/objectives/pairwise_loss.h"
#include "metarm/train/gradient_sum.h"
#include "metarm/train/rank_trees.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct PairwiseFigures {
  double loss = 0;      // mean over the pairs
  double accuracy = 0;  // share with chosen > rejected
  double margin = 0;    // mean of chosen - rejected
  std::int64_t pairs = 0, tokens = 0;
  std::optional<double> lm_loss;       // mean over the pairs, where it has a weight
  std::optional<double> head_penalty;  // of a head training
};

struct PairwiseStep {
  double label_smoothing = 0, center_rewards_coefficient = 0;
  double lm_loss_weight = 0;  // above 0: the reward model has the head of a language model
  double dropout = 0;
  bool gradient_checkpointing = false;
  std::int64_t tokens_per_batch = 2048;
  std::uint64_t seed = 0;

  // Adds ∇L at the weights that the reward model reads, for this rank's share of the `pairs` at `rows`, to the leaves' gradients, and
  // finishes `sum`. The figures are of all rows.
  PairwiseFigures backward(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows,
                           std::int64_t step, GradientSum& sum) const;
  // The same with a head training (train/head_training.h) of the setup in the place of the head: a function of all features of the step,
  // whose microbatches but the last one go forward twice. One rank.
  PairwiseFigures backward_through_head(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows,
                                        std::int64_t step, GradientSum& sum) const;

  // What both are made of.
  static RankTrees trees(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows);
  static PairTargets targets(const TrainingSetup& setup, std::span<const EncodedPair> pairs, std::span<const std::int64_t> rows,
                             std::span<const std::size_t> places);
  ForwardOptions forward(std::int64_t step) const;
};

Json to_json(const PairwiseFigures& figures);
PairwiseStep make_pairwise_step(const RewardTrainingOptions& training, const ScoringOptions& scoring, const CommonOptions& common);

}  // namespace metarm
