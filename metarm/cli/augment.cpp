#include "metarm/collect/augment.h"

#include <fmt/format.h>

#include "metarm/cli/command.h"
#include "metarm/eval/reward_differences.h"
#include "metarm/eval/statistics.h"
#include "metarm/model/common_options.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

// With how --rm scores.
struct AugmentCommandOptions {
  AugmentOptions augment;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    AugmentOptions::fields(self.augment, visit);
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

void check_scoring(const AugmentOptions& options, const Parsed& parsed) {
  for (const char* name : {"max-length", "tokens-per-batch", "chat-template", "pooling", "device", "dtype", "threads"})
    if (options.synthetic.rm.empty() && parsed.given.contains(name))
      fail_input("augment: --{}: expected --rm with it, got it alone; nothing is scored so", name);
}

std::string list_counts(const std::map<std::string, std::int64_t>& counts) {
  std::string text;
  for (const auto& [name, count] : counts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  return text;
}

std::string accuracy_text(const LabelCount& count) {
  const Interval interval = wilson_interval(count.right, count.pairs);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}] of {}, mean confidence {:.3f}",
                     static_cast<double>(count.right) / static_cast<double>(count.pairs), interval.low, interval.high, count.pairs,
                     count.confidence / static_cast<double>(count.pairs));
}

void print_text(const AugmentOptions& options, const AugmentSummary& summary, Log& log) {
  log.result(fmt::format("{} rows in {}: {}", summary.rows, options.output, list_counts(summary.kinds)));
  if (!summary.left_out.empty()) log.result("left out: " + list_counts(summary.left_out));
  for (std::size_t i = 0; i < options.pseudo.calibration_pairs.size(); ++i)
    log.result(fmt::format("temperature {:.4g} by {}", summary.temperatures[i], options.pseudo.calibration_pairs[i]));
  if (summary.candidates.all.pairs > 0) {
    log.result("pseudo-labels right, before the threshold: " + accuracy_text(summary.candidates.all));
    for (std::size_t i = 0; i < summary.candidates.bins.size(); ++i)
      if (const LabelCount& bin = summary.candidates.bins[i]; bin.pairs > 0)
        log.result(fmt::format("  confidence {} {:.1f}: {}", i == 0 ? "below" : "from", i == 0 ? 0.6 : static_cast<double>(i + 5) / 10,
                               accuracy_text(bin)));
  }
  if (summary.kept.all.pairs > 0) log.result("pseudo-labels right, written: " + accuracy_text(summary.kept.all));
  if (summary.length)
    log.result(fmt::format("the chosen response is the longer one in {:.3f} of the weight, before {:.3f}; effective share {:.3f}",
                           summary.length->longer_after, summary.length->longer_before, summary.length->effective_share));
}

Json with_interval(Json accuracy, const LabelCount& count) {
  if (count.pairs == 0) return accuracy;
  const Interval interval = wilson_interval(count.right, count.pairs);
  accuracy["interval"] = {interval.low, interval.high};
  return accuracy;
}

void run_augment(const AugmentCommandOptions& given, const Parsed& parsed, Log& log) {
  AugmentOptions options = given.augment;
  options.seed = given.common.seed;
  options.sources.skip_bad_rows = given.scoring.skip_bad_rows;
  check_scoring(options, parsed);
  const auto by_rm = [&](std::span<const Pair* const> pairs) {
    const OpenRewardModel opened = open_reward_model(options.synthetic.rm, given.scoring, given.common, log);
    Encoder encoder = opened.encoder();
    return reward_differences(*make_single_rank(), opened.scorer, encoder, pairs, given.scoring.tokens_per_batch, log);
  };
  const AugmentSummary summary = augment(options, parsed, by_rm, log);
  if (!given.common.json) return print_text(options, summary, log);
  Json json = to_json(summary);
  json["candidates"] = with_interval(json["candidates"], summary.candidates.all);
  json["kept"] = with_interval(json["kept"], summary.kept.all);
  json["output"] = options.output;
  print_out(json.dump());
}

}  // namespace

Command augment_command() {
  return make_command<AugmentCommandOptions, run_augment>("augment", "pairs from pairs, scored response groups and judgements");
}

}  // namespace metarm
