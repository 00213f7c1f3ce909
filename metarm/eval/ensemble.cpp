#include "metarm/eval/ensemble.h"

#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/data/encode.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

void check_options(const EnsembleOptions& options, const Parsed& parsed) {
  if (options.models.size() < 2) fail_input("ensemble: --models: expected at least 2, got {}", options.models.size());
  if (options.aggregate != Aggregate::uncertainty && parsed.given.contains("uncertainty-weight"))
    fail_input("ensemble: --uncertainty-weight: expected --aggregate uncertainty with it, got {}; it has no effect so",
               enum_name(options.aggregate));
  if (!options.pairs.empty()) return;
  for (const Field& field : list_fields(options.sequences))
    if (parsed.given.contains(field.info.name))
      fail_input("ensemble: --{}: expected --pairs with it, got none; it has no effect so", field.info.name);
}

EnsembleConfig begin_config(const EnsembleOptions& options) {
  EnsembleConfig config;
  config.aggregate = options.aggregate;
  if (options.aggregate == Aggregate::uncertainty) config.uncertainty_weight = options.uncertainty_weight;
  for (const std::string& model : options.models) config.members.push_back({model});
  return config;
}

// One entry a member, of all pairs.
std::vector<std::vector<PairRewards>> score_pairs_by_member(const EnsembleOptions& options, const OpenRewardModel& opened, Log& log) {
  const Rows<Pair> rows = read_pairs(options.pairs, options.sequences.bad_rows());
  log_skipped(rows.report, log);
  Encoder encoder = opened.encoder();
  std::vector<std::vector<TokenIds>> groups;
  for (EncodedPair& pair : encoder.pairs(rows.rows)) groups.push_back({std::move(pair.chosen), std::move(pair.rejected)});
  for (const std::string& note : encoder.report().notes()) log.info(note);
  if (groups.empty())
    fail_input("--pairs: expected pairs that fit in --max-length {}, got none of {}", options.sequences.max_length, rows.rows.size());
  const auto show = [&](std::int64_t done) { log.progress("scoring pairs", done, static_cast<std::int64_t>(groups.size()), ""); };
  std::vector<std::vector<PairRewards>> by_member;
  for (const auto& of_member : opened.scorer.score_members(groups, options.sequences.tokens_per_batch, show)) {
    std::vector<PairRewards>& rewards = by_member.emplace_back();
    for (const std::vector<float>& pair : of_member) rewards.push_back({pair[0], pair[1]});
  }
  return by_member;
}

std::vector<PairRewards> combine_pairs(const EnsembleConfig& config, const std::vector<std::vector<PairRewards>>& by_member) {
  std::vector<PairRewards> combined;
  for (std::size_t i = 0; i < by_member.front().size(); ++i) {
    const auto combine = [&](float PairRewards::*side) {
      std::vector<double> rewards;
      for (std::size_t m = 0; m < by_member.size(); ++m)
        rewards.push_back((by_member[m][i].*side - config.members[m].mean) / config.members[m].deviation);
      return static_cast<float>(combine_rewards(rewards, config.aggregate, config.uncertainty_weight).reward);
    };
    combined.push_back({combine(&PairRewards::chosen), combine(&PairRewards::rejected)});
  }
  return combined;
}

// Means and deviations on the reference pairs go into the members' entries.
void standardise(EnsembleSummary& summary, const std::vector<std::vector<PairRewards>>& by_member) {
  for (std::size_t m = 0; m < by_member.size(); ++m) {
    EnsembleConfig::Member& member = summary.config.members[m];
    const PairStatistics& figures = summary.members.emplace_back(pair_statistics(by_member[m]));
    if (!(figures.reward_deviation > 0))
      fail_input("{}: expected rewards that differ between --pairs, got {} for all of them", member.directory, figures.mean_reward);
    member.mean = figures.mean_reward;
    member.deviation = figures.reward_deviation;
  }
  summary.together = pair_statistics(combine_pairs(summary.config, by_member));
}

}  // namespace

EnsembleSummary make_ensemble(const EnsembleOptions& options, const Parsed& parsed, Log& log) {
  check_options(options, parsed);
  for (const std::string& model : options.models) refuse_ensemble(model);
  EnsembleSummary summary{begin_config(options), {}, {}};
  AtomicDirectory output(options.output);
  save_ensemble_config(output.path(), summary.config);
  const OpenRewardModel opened = open_reward_model(output.path(), {options.sequences, PoolingChoice::automatic}, options.common, log);
  if (!options.pairs.empty()) {
    standardise(summary, score_pairs_by_member(options, opened, log));
    save_ensemble_config(output.path(), summary.config);
  }
  output.commit();
  return summary;
}

}  // namespace metarm
