#include <fmt/format.h>

#include "metarm/cli/command.h"
#include "metarm/meta/alignment.h"
#include "metarm/train/reward_training.h"

namespace metarm {

namespace {

void run_align(const AlignOptions& options, const Parsed& parsed, Log& log) {
  const std::optional<TrainingSummary> summary = align_reward_model(options, parsed, log);
  if (options.common.json)
    print_out(summary ? to_json(*summary, options.output).dump() : Json{{"output", options.output}, {"finished_before", true}}.dump());
  else
    log.info(summary ? to_text(*summary, options.output) : fmt::format("{}: finished already", options.output));
}

}  // namespace

Command align_command() {
  return make_command<AlignOptions, run_align>("align",
                                               "aligns a reward model to the responses of the current policy, without labels (MetaRM)");
}

}  // namespace metarm
