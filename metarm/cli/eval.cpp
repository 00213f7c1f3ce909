#include <fmt/format.h>

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

void run_eval(const EvalOptions& options, const Parsed&, Ranks& ranks, Log& log) {
  const OpenRewardModel opened = open_reward_model(options.model, options.scoring, options.common, log);
  const RewardModel& reward_model = opened.loaded.reward_model;
  Encoder encoder = opened.encoder();

  const Rows<Pair> rows = read_pairs(options.pairs, options.scoring.bad_rows());
  const std::vector<EncodedPair> pairs = encoder.pairs(rows.rows);
  if (pairs.empty())
    fail_input("--pairs: expected pairs that fit in --max-length {}, got none of {}", options.scoring.max_length, rows.rows.size());
  std::vector<EncodedGroup> groups;
  if (!options.responses.empty()) groups = encoder.groups(read_response_groups(options.responses, options.scoring.bad_rows(), 2).rows);
  const auto show = [&](const char* task, std::size_t total) {
    return [&log, task, total](std::int64_t done) { log.progress(task, done, static_cast<std::int64_t>(total), ""); };
  };
  const std::vector<PairRewards> rewards =
      score_pairs(ranks, reward_model, pairs, options.scoring.tokens_per_batch, show("scoring pairs", pairs.size()));
  const PairStatistics statistics = pair_statistics(rewards);
  const auto subsets = statistics_by_subset(rows.rows, pairs, rewards);

  std::optional<DifferenceStatistics> differences;
  if (!groups.empty())
    differences = difference_statistics(
        score_responses(ranks, reward_model, groups, options.scoring.tokens_per_batch, show("scoring responses", groups.size())),
        statistics.reward_deviation);
  for (const std::string& note : encoder.report().notes()) log.info(note);

  if (options.common.json) {
    Json json = {{"model", options.model}, {"pairs", to_json(statistics)}};
    if (subsets.size() > 1)
      for (const auto& [subset, figures] : subsets) json["subsets"][subset] = to_json(figures);
    if (differences) json["responses"] = to_json(*differences);
    return print_out(json.dump());
  }
  print_out(to_text(statistics));
  if (subsets.size() > 1)
    for (const auto& [subset, figures] : subsets)
      print_out(fmt::format("  {:<16} {:.3f} [{:.3f}, {:.3f}] on {} pairs", subset.empty() ? "(no subset)" : subset, figures.accuracy,
                            figures.accuracy_interval.low, figures.accuracy_interval.high, figures.pairs));
  if (differences) print_out(to_text(*differences));
}

}  // namespace

Command eval_command() {
  return make_command<EvalOptions, run_eval>("eval", "accuracy, calibration and reward differences of a reward model");
}

}  // namespace metarm
