#include "metarm/train/reward_training.h"

#include <ATen/ATen.h>

#include <initializer_list>
#include <utility>

#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"
#include "metarm/train/pair_data.h"
#include "metarm/train/pairwise_step.h"

namespace metarm {

namespace {

std::vector<Pair> bootstrapped(const std::vector<Pair>& rows, std::uint64_t seed) {
  std::vector<Pair> drawn;
  for (const std::int64_t row : draw_with_replacement(static_cast<std::int64_t>(rows.size()), seed))
    drawn.push_back(rows[static_cast<std::size_t>(row)]);
  return drawn;
}

// Options of one head training have no effect with another.
void check_head_options(const HeadTrainingOptions& options, const Parsed& parsed) {
  const auto expect = [&](HeadTrainingKind kind, std::initializer_list<const char*> names) {
    expect_choice("train", parsed, "head-training", options.head_training, kind, names);
  };
  expect(HeadTrainingKind::bottleneck, {"bottleneck-weight", "bottleneck-width"});
  expect(HeadTrainingKind::length_head, {"length-weight"});
}

}  // namespace

std::optional<TrainingSummary> train_reward_model(const TrainOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_training_options("train", given.training, parsed);
  check_head_options(given.head, parsed);
  TrainOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "train", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  TrainingSetup setup(options.model, options.scoring, options.common, ranks);
  const auto seed = static_cast<std::uint64_t>(options.common.seed);
  std::vector<Pair> rows = read_pair_rows(options.pairs, options.scoring, log);
  if (options.bootstrap) rows = bootstrapped(rows, seed);
  const PairData data = load_pair_data(setup, rows, options.training, options.scoring, log);
  setup.train_head(options.head);
  setup.load_as_reward_model(MissingHead::initialise, false, options.training, options.scoring, log);
  if (options.training.lm_loss_weight > 0) setup.load_language_head();
  run.expect_data({{"pairs", fingerprint(data.pairs)}, {"eval_pairs", fingerprint(data.held_out)}});
  const PairwiseStep pairwise = make_pairwise_step(options.training, options.scoring, options.common);
  DataOrder order(static_cast<std::int64_t>(data.pairs.size()), seed, "pairs", options.training.shuffle);

  Objective objective =
      make_pair_objective("training", setup, data, order.steps_per_epoch(options.training.batch_size), options.scoring.tokens_per_batch);
  objective.add_gradient = [&](std::int64_t step, std::int64_t, at::Tensor& gradient) {
    setup.trainable->load_compute();
    GradientSum sum(setup.ranks, *setup.trainable, gradient);
    return to_json(pairwise.backward(setup, data.pairs, order.batch(step, options.training.batch_size), step, sum));
  };
  if (objective.evaluate)
    objective.evaluate = [&setup, evaluate = objective.evaluate] {
      setup.read_trained_head();
      return evaluate();
    };
  return run_training(setup, objective, options.training, run, log);
}

}  // namespace metarm
