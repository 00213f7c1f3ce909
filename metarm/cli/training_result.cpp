#include "metarm/cli/training_result.h"

#include <fmt/format.h>

#include "metarm/cli/command.h"
#include "metarm/train/reward_training.h"

namespace metarm {

void print_training_result(const std::optional<TrainingSummary>& summary, const std::string& output, bool json, Log& log) {
  if (json)
    print_out(summary ? to_json(*summary, output).dump() : Json{{"output", output}, {"finished_before", true}}.dump());
  else
    log.info(summary ? to_text(*summary, output) : fmt::format("{}: finished already", output));
}

}  // namespace metarm
