#include <fmt/format.h>

#include <map>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/cli/command.h"
#include "metarm/eval/evaluate.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

struct EvalOptions {
  std::string model;
  std::vector<std::string> pairs;
  std::vector<std::string> responses;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model", .help = "Reward model: a Hugging Face directory or a PEFT adapter's.", .required = true});
    visit(self.pairs, {.name = "pairs", .help = "Preference pairs, JSON lines, .gz accepted.", .required = true});
    visit(self.responses,
          {.name = "responses", .help = "Response groups of the current policy, for the distribution of reward differences."});
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

struct Evaluation {
  PairStatistics pairs;
  std::map<std::string, PairStatistics> subsets;
  std::optional<DifferenceStatistics> differences;
  std::int64_t skipped_pairs = 0, skipped_groups = 0;  // malformed rows
};

template <class Row, class Encoded>
void check_any_fits(const char* option, const EvalOptions& options, const Rows<Row>& rows, const std::vector<Encoded>& encoded) {
  if (encoded.empty())
    fail_input("{}: expected rows that fit in --max-length {}, got none of {}", option, options.scoring.max_length, rows.rows.size());
}

RowsDone show_progress(Log& log, const char* task, std::size_t total) {
  return [&log, task, total](std::int64_t done) { log.progress(task, done, static_cast<std::int64_t>(total), ""); };
}

Evaluation evaluate(const EvalOptions& options, const OpenRewardModel& opened, Ranks& ranks, Log& log) {
  const RewardModel& reward_model = opened.loaded.reward_model;
  Encoder encoder = opened.encoder();
  const Rows<Pair> rows = read_pairs(options.pairs, options.scoring.bad_rows());
  log_skipped(rows.report, log);
  const std::vector<EncodedPair> pairs = encoder.pairs(rows.rows);
  check_any_fits("--pairs", options, rows, pairs);
  Rows<ResponseGroup> group_rows;
  std::vector<EncodedGroup> groups;
  if (!options.responses.empty()) {
    group_rows = read_response_groups(options.responses, options.scoring.bad_rows(), 2);
    log_skipped(group_rows.report, log);
    groups = encoder.groups(group_rows.rows);
    check_any_fits("--responses", options, group_rows, groups);
  }

  const std::int64_t tokens = options.scoring.tokens_per_batch;
  const std::vector<PairRewards> rewards =
      score_pairs(ranks, reward_model, pairs, tokens, show_progress(log, "scoring pairs", pairs.size()));
  Evaluation evaluation;
  evaluation.pairs = pair_statistics(rewards);
  evaluation.subsets = statistics_by_subset(rows.rows, pairs, rewards);
  if (!groups.empty())
    evaluation.differences =
        difference_statistics(score_responses(ranks, reward_model, groups, tokens, show_progress(log, "scoring responses", groups.size())),
                              evaluation.pairs.reward_deviation);
  for (const std::string& note : encoder.report().notes()) log.info(note);
  evaluation.skipped_pairs = rows.report.skipped;
  evaluation.skipped_groups = group_rows.report.skipped;
  return evaluation;
}

Json to_json(const Evaluation& evaluation) {
  Json json = {{"pairs", to_json(evaluation.pairs)}};
  json["pairs"]["skipped"] = evaluation.skipped_pairs;
  if (evaluation.subsets.size() > 1)
    for (const auto& [subset, figures] : evaluation.subsets) json["subsets"][subset] = to_json(figures);
  if (evaluation.differences) {
    json["responses"] = to_json(*evaluation.differences);
    json["responses"]["skipped"] = evaluation.skipped_groups;
  }
  return json;
}

void print_text(const Evaluation& evaluation) {
  print_out(to_text(evaluation.pairs));
  if (evaluation.subsets.size() > 1)
    for (const auto& [subset, figures] : evaluation.subsets)
      print_out(fmt::format("  {:<16} {:.3f} [{:.3f}, {:.3f}] on {} pairs", subset.empty() ? "(no subset)" : subset, figures.accuracy,
                            figures.accuracy_interval.low, figures.accuracy_interval.high, figures.pairs));
  if (evaluation.differences) print_out(to_text(*evaluation.differences));
}

void run_eval(const EvalOptions& options, const Parsed&, Ranks& ranks, Log& log) {
  const Evaluation evaluation = evaluate(options, open_reward_model(options.model, options.scoring, options.common, log), ranks, log);
  if (!options.common.json) return print_text(evaluation);
  Json json = to_json(evaluation);
  json["model"] = options.model;
  print_out(json.dump());
}

}  // namespace

Command eval_command() {
  return make_command<EvalOptions, run_eval>("eval", "accuracy, calibration and reward differences of a reward model");
}

}  // namespace metarm
