#include "metarm/train/reward_training.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "metarm/eval/figures.h"
#include "metarm/train/data_order.h"
#include "metarm/train/fingerprint.h"
#include "metarm/train/pairwise_step.h"

namespace metarm {

std::optional<TrainingSummary> train_reward_model(const TrainOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_training_options("train", given.training, parsed);
  TrainOptions options = given;
  options.common = resolve_for_training(given.common);
  RunDirectory run(options.output, "train", list_fields(options), options.training.resume, ranks.first());
  if (run.finished()) return std::nullopt;
  RewardSetup setup = make_reward_setup({options.model, options.pairs, MissingHead::initialise, false}, options.training, options.scoring,
                                        options.common, ranks, log);
  run.expect_data({{"pairs", fingerprint(setup.pairs)}, {"eval_pairs", fingerprint(setup.eval_pairs)}});
  const PairwiseStep pairwise = make_pairwise_step(options.training, options.scoring, options.common);
  DataOrder order(static_cast<std::int64_t>(setup.pairs.size()), static_cast<std::uint64_t>(options.common.seed), "pairs",
                  options.training.shuffle);

  Objective objective;
  objective.steps_per_epoch = order.steps_per_epoch(options.training.batch_size);
  objective.add_gradient = [&](std::int64_t step, at::Tensor& gradient) {
    setup.trainable->load_compute();
    GradientSum sum(setup.ranks, *setup.trainable, gradient);
    const PairwiseFigures figures = pairwise.backward(setup, order.batch(step, options.training.batch_size), step, sum);
    return Json{{"loss", figures.loss},
                {"accuracy", figures.accuracy},
                {"margin", figures.margin},
                {"pairs", figures.pairs},
                {"tokens", figures.tokens}};
  };
  return run_training(setup, objective, options.training, options.scoring, run, log);
}

Json to_json(const TrainingSummary& summary, const std::string& output) {
  Json json = {{"output", output},
               {"steps", summary.steps},
               {"skipped_steps", summary.skipped_steps},
               {"seconds", summary.seconds},
               {"peak_memory_bytes", summary.peak_memory_bytes},
               {"last", summary.last}};
  if (summary.evaluation) json["evaluation"] = to_json(*summary.evaluation);
  return json;
}

std::string to_text(const TrainingSummary& summary, const std::string& output) {
  return fmt::format("{} steps{} in {:.1f} s, {:.2f} GB of memory at most: {}", summary.steps,
                     summary.skipped_steps > 0 ? fmt::format(" ({} of them skipped)", summary.skipped_steps) : "", summary.seconds,
                     static_cast<double>(summary.peak_memory_bytes) / 1e9, output);
}

}  // namespace metarm
