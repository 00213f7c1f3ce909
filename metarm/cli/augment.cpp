#include "metarm/collect/augment.h"

#include <fmt/format.h>

#include "metarm/cli/command.h"
#include "metarm/eval/statistics.h"

namespace metarm {

namespace {

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

void run_augment(const AugmentOptions& options, const Parsed& parsed, Log& log) {
  const AugmentSummary summary = augment(options, parsed, log);
  if (!options.common.json) return print_text(options, summary, log);
  Json json = to_json(summary);
  json["candidates"] = with_interval(json["candidates"], summary.candidates.all);
  json["kept"] = with_interval(json["kept"], summary.kept.all);
  json["output"] = options.output;
  print_out(json.dump());
}

}  // namespace

Command augment_command() {
  return make_command<AugmentOptions, run_augment>("augment", "pairs from pairs, scored response groups and judgements");
}

}  // namespace metarm
