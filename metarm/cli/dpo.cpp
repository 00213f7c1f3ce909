#include "metarm/rl/dpo.h"

#include "metarm/cli/command.h"
#include "metarm/cli/training_result.h"

namespace metarm {

namespace {

void run_dpo(const DpoOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  print_training_result(train_dpo(options, parsed, ranks, log), options.output, options.common.json, log);
}

}  // namespace

Command dpo_command() {
  return make_command<DpoOptions, run_dpo>("dpo", "trains a policy on preference pairs by direct preference optimisation (DPO)");
}

}  // namespace metarm
