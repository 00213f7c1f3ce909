#include "metarm/train/pair_data.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/eval/evaluate.h"
#include "metarm/eval/figures.h"
#include "metarm/train/data_order.h"

namespace metarm {

namespace {

void set_soft_labels(std::vector<EncodedPair>& pairs, const std::vector<Pair>& rows, double temperature) {
  for (EncodedPair& pair : pairs) {
    const Pair& row = rows[static_cast<std::size_t>(pair.row)];
    if (!row.reward_difference)
      fail_input("{}: --soft-labels: expected numbers in chosen_reward and rejected_reward, as `metarm score` writes them, got none",
                 row.where);
    pair.label = 1 / (1 + std::exp(-*row.reward_difference / temperature));
  }
}

}  // namespace

HeldOutFigures to_held_out_figures(const PairStatistics& statistics) {
  return {{{"eval_accuracy", statistics.accuracy},
           {"eval_accuracy_low", statistics.accuracy_interval.low},
           {"eval_accuracy_high", statistics.accuracy_interval.high},
           {"eval_loss", statistics.loss},
           {"eval_margin", statistics.mean_margin},
           {"eval_reward_deviation", statistics.reward_deviation}},
          to_json(statistics),
          fmt::format("accuracy {:.3f} [{:.3f}, {:.3f}] on {} held-out pairs, loss {:.3f}", statistics.accuracy,
                      statistics.accuracy_interval.low, statistics.accuracy_interval.high, statistics.pairs, statistics.loss)};
}

std::vector<Pair> read_pair_rows(const std::vector<std::string>& files, const SequenceOptions& sequences, Log& log) {
  Rows<Pair> rows = read_pairs(files, sequences.bad_rows());
  log_skipped(rows.report, log);
  return std::move(rows.rows);
}

std::vector<Pair> read_training_rows(const std::vector<std::string>& files, const RewardTrainingOptions& training,
                                     const SequenceOptions& sequences, std::uint64_t seed, Log& log) {
  std::vector<Pair> rows = read_pair_rows(files, sequences, log);
  if (!training.bootstrap) return rows;
  std::vector<Pair> drawn;
  for (const std::int64_t row : draw_with_replacement(std::ssize(rows), seed)) drawn.push_back(rows[static_cast<std::size_t>(row)]);
  return drawn;
}

EncodeReport counted_since(const EncodeReport& before, EncodeReport now) {
  for (const auto count : {&EncodeReport::rows, &EncodeReport::truncated, &EncodeReport::too_long, &EncodeReport::equal,
                           &EncodeReport::small_groups, &EncodeReport::no_response, &EncodeReport::no_end, &EncodeReport::doubled_start})
    now.*count -= before.*count;
  return now;
}

void fail_without_rows(const char* option, const char* kind, std::size_t rows, const EncodeReport& report,
                       const SequenceOptions& sequences) {
  const std::string fit = report.too_long > 0 ? fmt::format("fit in --max-length {}", sequences.max_length) : "can be used";
  std::string reasons;
  for (const std::string& note : report.notes()) reasons += "; " + note;
  fail_input("{}: expected {} that {}, got none of {}{}", option, kind, fit, rows, reasons);
}

PairData load_pair_data(const TrainingSetup& setup, const std::vector<Pair>& rows, const RewardTrainingOptions& training,
                        const ScoringOptions& scoring, Log& log) {
  Encoder encoder = setup.encoder(scoring.max_length);
  PairData data;
  data.pairs = encode_pairs(rows, "--pairs", encoder, &Encoder::pairs, scoring);
  if (training.soft_labels > 0) set_soft_labels(data.pairs, rows, training.soft_labels);
  if (!training.eval_pairs.empty()) data.held_out = load_pairs(training.eval_pairs, "--eval-pairs", encoder, &Encoder::pairs, scoring, log);
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return data;
}

Objective make_pair_objective(const char* name, const TrainingSetup& setup, const PairData& data, std::int64_t steps_per_epoch,
                              std::int64_t tokens_per_batch) {
  Objective objective;
  objective.name = name;
  objective.steps_per_epoch = steps_per_epoch;
  objective.progress = [](const Json& figures) { return figure_text(figures, "loss") + ", " + figure_text(figures, "accuracy"); };
  if (!data.held_out.empty())
    objective.evaluate = [&setup, &data, tokens_per_batch] {
      return to_held_out_figures(pair_statistics(score_pairs(setup.ranks, setup.reward_model(), data.held_out, tokens_per_batch).rewards));
    };
  return objective;
}

}  // namespace metarm
