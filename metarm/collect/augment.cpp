#include "metarm/collect/augment.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/collect/collected_pair.h"
#include "metarm/collect/corrupted_pairs.h"
#include "metarm/collect/cross_prompt.h"
#include "metarm/collect/judgements.h"
#include "metarm/collect/temperature.h"
#include "metarm/data/response_part.h"

namespace metarm {

namespace {

void check_options(const AugmentOptions& options, const Parsed& parsed) {
  const SourceOptions& sources = options.sources;
  const PseudoLabelOptions& pseudo = options.pseudo;
  if (sources.pairs.empty() && sources.groups.empty() && sources.judgements.empty())
    fail_input("augment: expected --pairs, --groups or --judgements, got none of them");
  if (sources.groups.empty() && sources.judgements.empty())
    for (const char* name : {"calibration-pairs", "min-confidence", "first-confidence", "pseudo-weight"})
      if (parsed.given.contains(name)) fail_input("augment: --{}: expected --groups or --judgements with it, got neither", name);
  if (pseudo.ensemble.empty() && pseudo.confidence == ConfidenceKind::agreement)
    fail_input("augment: --confidence agreement: expected --ensemble with it, got one reward model, which always agrees");
  const std::size_t models = pseudo.ensemble.size() + 1;
  if (!pseudo.calibration_pairs.empty() && pseudo.calibration_pairs.size() != models)
    fail_input("augment: --calibration-pairs: expected {}, one a reward model, got {}", models, pseudo.calibration_pairs.size());
  if (pseudo.confidence == ConfidenceKind::agreement &&
      pseudo.min_agreement * static_cast<double>(models) > static_cast<double>(models - 1))
    fail_input("augment: --confidence agreement: expected --min-agreement of at most {} / {} with it, got {}; every confidence would be 1",
               models - 1, models, pseudo.min_agreement);
  if (pseudo.first_confidence > 0 && pseudo.rounds == 1)
    fail_input("augment: --first-confidence: expected --rounds of at least 2 with it, got 1; it has no effect so");
  if (pseudo.round > pseudo.rounds)
    fail_input("augment: --round: expected at most {}, the number of --rounds, got {}", pseudo.rounds, pseudo.round);
  if (pseudo.first_confidence > 0 && pseudo.first_confidence < pseudo.min_confidence)
    fail_input("augment: --first-confidence: expected at least --min-confidence {}, got {}", pseudo.min_confidence,
               pseudo.first_confidence);
  const SyntheticOptions& synthetic = options.synthetic;
  const double shares = synthetic.cross_chosen_share + synthetic.cross_rejected_share + synthetic.cross_neutral_share +
                        synthetic.truncate_share + synthetic.repeat_share + synthetic.shuffle_share + synthetic.swap_share;
  for (const char* name : {"synthetic-weight", "rm"})
    if (shares == 0 && parsed.given.contains(name))
      fail_input("augment: --{}: expected a share of synthetic pairs with it, got it alone; it has no effect so", name);
  if (options.balance_lengths == LengthBalance::none && parsed.given.contains("length-buckets"))
    fail_input("augment: --length-buckets: expected --balance-lengths with it, got it alone; it has no effect so");
}

class Augmentation {
 public:
  Augmentation(const AugmentOptions& options, const RewardDifferences& reward_differences, Log& log)
      : options_(options), reward_differences_(reward_differences), log_(log), seed_(static_cast<std::uint64_t>(options.seed)) {}

  AugmentSummary run() {
    fit_temperatures();
    read_labelled();
    const std::size_t labelled = pairs_.size();
    read_judged();
    read_groups();
    add_synthetic();
    if (!options_.sources.keep_pairs) pairs_.erase(pairs_.begin(), pairs_.begin() + static_cast<std::ptrdiff_t>(labelled));
    balance();
    if (options_.order == RowOrder::confidence)
      std::ranges::stable_sort(pairs_, std::greater{}, [](const CollectedPair& pair) { return pair.confidence.value_or(1); });
    write();
    return std::move(summary_);
  }

 private:
  void fit_temperatures() {
    const PseudoLabelOptions& pseudo = options_.pseudo;
    summary_.temperatures.assign(pseudo.ensemble.size() + 1, 1);
    for (std::size_t i = 0; i < pseudo.calibration_pairs.size(); ++i) {
      const ScoredMargins scored = read_scored_margins(pseudo.calibration_pairs[i], options_.sources.bad_rows());
      log_skipped(scored.report, log_);
      summary_.temperatures[i] = fit_temperature(scored.margins, pseudo.calibration_pairs[i]);
    }
    summary_.threshold = pseudo.first_confidence > 0
                             ? confidence_threshold(pseudo.first_confidence, pseudo.min_confidence, pseudo.round, pseudo.rounds)
                             : pseudo.min_confidence;
  }

  void read_labelled() {
    if (options_.sources.pairs.empty()) return;
    log_skipped(for_each_row(options_.sources.pairs, options_.sources.bad_rows(),
                             [&](const JsonRow& row) {
                               Pair pair = parse_pair(row);
                               if (pair.chosen == pair.rejected) fail_input("{}: chosen and rejected are equal", pair.where);
                               const Origin origin = read_origin(row.value);
                               pairs_.push_back({std::move(pair), "labelled", origin.confidence, {}, origin.tie, row.value});
                             }),
                log_);
  }

  void read_judged() {
    if (options_.sources.judgements.empty()) return;
    Judgements judgements = read_judgements(options_.sources.judgements, options_.sources.bad_rows(), summary_.temperatures.front());
    log_skipped(judgements.report, log_);
    leave_out("not_judged", judgements.not_judged);
    for (CollectedPair& judged : judgements.pairs) {
      if (judged.tie && !options_.sources.judged_ties)
        leave_out("judged_ties", 1);
      else if (judged.confidence.value_or(1) < summary_.threshold)
        leave_out("unsure", 1);
      else
        add_weighted(std::move(judged), options_.pseudo.pseudo_weight);
    }
  }

  void read_groups() {
    const PseudoLabelOptions& pseudo = options_.pseudo;
    if (options_.sources.groups.empty()) return;
    const ScoredGroups groups = read_scored_groups(
        {options_.sources.groups, pseudo.ensemble, pseudo.gold, options_.sources.bad_rows(), pseudo.max_overlap, pseudo.shingle_words});
    for (const BadRowReport& report : groups.reports) log_skipped(report, log_);
    leave_out("responses_not_scored", groups.not_scored);
    leave_out("near_duplicates", groups.near_duplicates);
    for (const ScoredGroup& group : groups.groups) add_pseudo_pairs(group);
  }

  void add_pseudo_pairs(const ScoredGroup& group) {
    const PseudoLabelOptions& pseudo = options_.pseudo;
    const PseudoLabelRules rules{pseudo.select, pseudo.min_margin, pseudo.confidence, pseudo.min_agreement};
    const std::vector<PseudoPair> candidates = make_pseudo_pairs(group, summary_.temperatures, rules);
    if (candidates.empty()) leave_out("groups_without_pair", 1);
    for (const PseudoPair& candidate : candidates) {
      summary_.candidates.add(candidate);
      if (candidate.confidence < summary_.threshold) {
        leave_out("unsure", 1);
        continue;
      }
      summary_.kept.add(candidate);
      const ResponseGroup& rows = group.group;
      Pair pair{rows.prompt, rows.responses[candidate.chosen], rows.responses[candidate.rejected], 0, 1, rows.subset, rows.id, rows.where};
      add_weighted({std::move(pair), "pseudo", candidate.confidence, {}, false, {}}, pseudo.pseudo_weight);
    }
  }

  // Of all pairs so far but ties.
  void add_synthetic() {
    std::vector<CollectedPair> rows;
    for (const CollectedPair& pair : pairs_)
      if (!pair.tie) rows.push_back({pair.pair, pair.kind, {}, {}, false, {}});
    const SyntheticOptions& synthetic = options_.synthetic;
    const CrossPromptShares shares{synthetic.cross_chosen_share, synthetic.cross_rejected_share, synthetic.cross_neutral_share};
    std::vector<CollectedPair> made;
    if (shares.any()) {
      CrossPromptPairs crossed = make_cross_prompt_pairs(rows, shares, seed_);
      leave_out("cross_same_prompt", crossed.same_prompt);
      made = std::move(crossed.pairs);
    }
    CorruptedPairs corrupted = make_corrupted_pairs(rows, synthetic, seed_);
    for (const auto& [kind, count] : corrupted.not_changed) leave_out(fmt::format("not_{}", kind), count);
    std::ranges::move(corrupted.pairs, std::back_inserter(made));
    if (!synthetic.rm.empty()) made = still_to_learn(std::move(made));
    for (CollectedPair& pair : made) add_weighted(std::move(pair), synthetic.synthetic_weight);
  }

  std::vector<CollectedPair> still_to_learn(std::vector<CollectedPair> pairs) {
    GapFilter filtered = keep_wide_gaps(std::move(pairs), options_.synthetic.min_label_gap, reward_differences_);
    for (const auto& [kind, count] : filtered.known) leave_out(fmt::format("known_{}", kind), count);
    leave_out("pairs_not_scored", filtered.not_scored);
    return std::move(filtered.pairs);
  }

  // Ties are balanced as they are: both orders are written.
  void balance() {
    if (options_.balance_lengths == LengthBalance::none) return;
    std::vector<CollectedPair*> unequal;
    std::vector<PairLength> lengths;
    for (CollectedPair& collected : pairs_) {
      if (collected.tie) continue;
      const Pair& pair = collected.pair;
      unequal.push_back(&collected);
      lengths.push_back({response_length(pair.prompt, pair.chosen) - response_length(pair.prompt, pair.rejected), pair.weight});
    }
    LengthReport& report = summary_.length.emplace();
    report.longer_before = longer_share(lengths);
    const std::vector<double> factors = balance_lengths(lengths, options_.balance_lengths, options_.length_buckets, seed_);
    for (std::size_t i = 0; i < unequal.size(); ++i) {
      lengths[i].weight *= factors[i];
      unequal[i]->pair.weight = lengths[i].weight;
      unequal[i]->left_out = factors[i] == 0;
    }
    report.longer_after = longer_share(lengths);
    report.effective_share = effective_share(lengths);
    report.left_out = static_cast<std::int64_t>(std::erase_if(pairs_, [](const CollectedPair& pair) { return pair.left_out; }));
    leave_out("lengths", report.left_out);
  }

  void write() {
    if (pairs_.empty()) fail_input("augment: expected pairs to write, got none; the thresholds or shares leave nothing");
    AtomicFile file(options_.output);
    for (const CollectedPair& pair : pairs_) {
      ++summary_.kinds[pair.kind];
      for (const Json& row : to_rows(pair)) {
        file.write(row.dump() + "\n");
        ++summary_.rows;
      }
    }
    file.commit();
  }

  void add_weighted(CollectedPair pair, double weight) {
    pair.pair.weight *= weight;
    pairs_.push_back(std::move(pair));
  }

  void leave_out(const std::string& reason, std::int64_t count) {
    if (count > 0) summary_.left_out[reason] += count;
  }

  const AugmentOptions& options_;
  const RewardDifferences& reward_differences_;
  Log& log_;
  std::uint64_t seed_;
  std::vector<CollectedPair> pairs_;
  AugmentSummary summary_;
};

}  // namespace

AugmentSummary augment(const AugmentOptions& options, const Parsed& parsed, const RewardDifferences& reward_differences, Log& log) {
  check_options(options, parsed);
  return Augmentation(options, reward_differences, log).run();
}

Json to_json(const AugmentSummary& summary) {
  Json json = {{"rows", summary.rows},           {"kinds", summary.kinds},
               {"left_out", summary.left_out},   {"temperatures", summary.temperatures},
               {"threshold", summary.threshold}, {"candidates", to_json(summary.candidates)},
               {"kept", to_json(summary.kept)}};
  if (summary.length)
    json["length"] = {{"longer_before", summary.length->longer_before},
                      {"longer_after", summary.length->longer_after},
                      {"left_out", summary.length->left_out},
                      {"effective_share", summary.length->effective_share}};
  return json;
}

}  // namespace metarm
