#include "metarm/train/reward_training.h"

#include <ATen/ATen.h>

#include <filesystem>
#include <initializer_list>
#include <set>
#include <utility>
#include <vector>

#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"
#include "metarm/train/group_data.h"
#include "metarm/train/pair_data.h"
#include "metarm/train/pairwise_step.h"

namespace metarm {

namespace {

// Options of one head training have no effect with another.
void check_head_options(const TrainOptions& options, const Parsed& parsed) {
  const HeadTrainingKind kind = options.head.head_training;
  const auto expect = [&](HeadTrainingKind owner, std::initializer_list<const char*> names) {
    expect_choice("train", parsed, "head-training", kind, owner, names);
  };
  expect(HeadTrainingKind::bottleneck, {"bottleneck-weight", "bottleneck-width"});
  expect(HeadTrainingKind::length_head, {"length-weight"});
  if (options.init_head == "zeros" && kind == HeadTrainingKind::length_head)
    fail_input(
        "train: --init-head: expected auto, normal or a directory with --head-training length-head, got zeros, of which its two heads "
        "cannot tell themselves apart");
  if (!std::set<std::string>{"auto", "normal", "zeros"}.contains(options.init_head) && !std::filesystem::is_directory(options.init_head))
    fail_input("train: --init-head: expected auto, normal, zeros or a reward model's directory, got {}", options.init_head);
}

void check_consistency_options(const TrainOptions& options) {
  if (options.consistency.consistency_coef == 0) return;
  if (options.responses.empty())
    fail_input("train: --consistency-coef: expected --responses with it, unlabelled response groups, got none");
  if (options.head.head_training != HeadTrainingKind::plain)
    fail_input("train: --consistency-coef: expected --head-training plain with it, got {}, whose rewards are of a step's pairs together",
               enum_name(options.head.head_training));
}

}  // namespace

std::optional<TrainingSummary> train_reward_model(const TrainOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_training_options("train", given.training, parsed);
  check_head_options(given, parsed);
  check_consistency_options(given);
  TrainOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "train", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  TrainingSetup setup(options.model, options.scoring, options.common, ranks);
  const auto seed = static_cast<std::uint64_t>(options.common.seed);
  const std::vector<Pair> rows = read_training_rows(options.pairs, options.training, options.scoring, seed, log);
  const PairData data = load_pair_data(setup, rows, options.training, options.scoring, log);
  std::vector<EncodedGroup> unlabelled;
  if (!options.responses.empty())
    unlabelled = encode_groups(read_group_rows(options.responses, options.scoring, log), setup.encoder(options.scoring.max_length),
                               options.scoring, log);
  setup.train_head(options.head);
  setup.init_head(options.init_head);
  setup.load_as_reward_model(MissingHead::initialise, false, options.training, options.scoring, log);
  if (options.training.lm_loss_weight > 0) setup.load_language_head();
  Json told = {{"pairs", fingerprint(data.pairs)}, {"eval_pairs", fingerprint(data.held_out)}};
  if (!unlabelled.empty()) told["responses"] = fingerprint(unlabelled);
  run.expect_data(std::move(told));
  const PairwiseStep pairwise = make_pairwise_step(options.training, options.scoring, options.common);
  ConsistencyStep consistency(options.consistency, unlabelled, setup, options.training, options.scoring, options.common);
  DataOrder order(static_cast<std::int64_t>(data.pairs.size()), seed, "pairs", options.training.shuffle);

  Objective objective =
      make_pair_objective("training", setup, data, order.steps_per_epoch(options.training.batch_size), options.scoring.tokens_per_batch);
  objective.add_gradient = [&](std::int64_t step, std::int64_t, at::Tensor& gradient) {
    setup.trainable->load_compute();
    GradientSum sum(setup.ranks, *setup.trainable, gradient);
    const ConsistencyFigures consistent = consistency.backward(step);
    Json figures = to_json(pairwise.backward(setup, data.pairs, order.batch(step, options.training.batch_size), step, sum));
    consistent.add_to(figures);
    return figures;
  };
  if (objective.evaluate)
    objective.evaluate = [&setup, evaluate = objective.evaluate] {
      setup.read_trained_head();
      return evaluate();
    };
  return run_training(setup, objective, options.training, run, log);
}

}  // namespace metarm
