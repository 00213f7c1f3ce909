#include "metarm/eval/ensemble.h"

#include <fmt/format.h>

#include "metarm/base/json_lines.h"
#include "metarm/cli/command.h"
#include "metarm/eval/figures.h"

namespace metarm {

namespace {

Json to_json(const EnsembleSummary& summary, const std::string& output) {
  Json json = {{"output", output}, {"members", Json::array()}};
  for (std::size_t i = 0; i < summary.config.members.size(); ++i) {
    json["members"].push_back({{"model", summary.config.members[i].directory}});
    if (summary.together) json["members"].back()["pairs"] = to_json(summary.members[i]);
  }
  if (summary.together) json["pairs"] = to_json(*summary.together);
  return json;
}

std::string line(const std::string& name, const PairStatistics& figures) {
  return fmt::format("  {:<32} accuracy {:.3f} [{:.3f}, {:.3f}], mean reward {:.3f}, deviation {:.3f}\n", name, figures.accuracy,
                     figures.accuracy_interval.low, figures.accuracy_interval.high, figures.mean_reward, figures.reward_deviation);
}

std::string to_text(const EnsembleSummary& summary, const std::string& output) {
  std::string text = fmt::format("wrote {}, an ensemble of {}", output, summary.config.members.size());
  if (!summary.together) return text;
  text += fmt::format("; on {} reference pairs:\n", summary.together->pairs);
  for (std::size_t i = 0; i < summary.members.size(); ++i) text += line(summary.config.members[i].directory, summary.members[i]);
  text += line("together", *summary.together);
  text.pop_back();
  return text;
}

void run_ensemble(const EnsembleOptions& options, const Parsed& parsed, Log& log) {
  const EnsembleSummary summary = make_ensemble(options, parsed, log);
  if (options.common.json)
    print_out(to_json(summary, options.output).dump());
  else
    log.result(to_text(summary, options.output));
}

}  // namespace

Command ensemble_command() {
  return make_command<EnsembleOptions, run_ensemble>("ensemble", "several reward models as one, with the spread of their rewards");
}

}  // namespace metarm
