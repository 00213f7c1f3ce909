#include "metarm/rl/sft.h"

#include "metarm/cli/command.h"
#include "metarm/cli/training_result.h"

namespace metarm {

namespace {

void run_sft(const SftOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  print_training_result(train_sft(options, parsed, ranks, log), options.output, options.common.json, log);
}

}  // namespace

Command sft_command() { return make_command<SftOptions, run_sft>("sft", "trains a policy on responses by the language-model loss"); }

}  // namespace metarm
