#include "metarm/cli/training_result.h"

#include <fmt/format.h>

#include "metarm/cli/command.h"

namespace metarm {

void print_training_result(const std::optional<TrainingSummary>& summary, const std::string& output, bool json, Log& log) {
  if (summary && summary->skipped_steps > 0)
    log.warn(fmt::format("{} of {} steps were skipped, since their gradients were not finite", summary->skipped_steps, summary->steps));
  if (json)
    print_out(summary ? to_json(*summary, output).dump() : Json{{"output", output}, {"finished_before", true}}.dump());
  else
    log.result(summary ? to_text(*summary, output) : fmt::format("{}: finished already", output));
}

}  // namespace metarm
