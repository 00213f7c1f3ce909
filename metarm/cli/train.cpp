#include <fmt/format.h>

#include "metarm/cli/command.h"
#include "metarm/train/reward_training.h"

namespace metarm {

namespace {

void run_train(const TrainOptions& options, const Parsed&, Log& log) {
  const std::optional<TrainingSummary> summary = train_reward_model(options, log);
  if (options.common.json)
    print_out(summary ? to_json(*summary, options.output).dump() : Json{{"output", options.output}, {"finished_before", true}}.dump());
  else
    log.info(summary ? to_text(*summary, options.output) : fmt::format("{}: finished already", options.output));
}

}  // namespace

Command train_command() { return make_command<TrainOptions, run_train>("train", "trains a reward model on preference pairs"); }

}  // namespace metarm
