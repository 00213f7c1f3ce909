#include "metarm/rl/ppo.h"

#include "metarm/cli/command.h"
#include "metarm/cli/training_result.h"

namespace metarm {

namespace {

void run_ppo(const PpoOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  print_training_result(train_ppo(options, parsed, ranks, log), options.output, options.common.json, log);
}

}  // namespace

Command ppo_command() {
  return make_command<PpoOptions, run_ppo>("ppo", "optimises a policy by a reward model (PPO, RLOO, GRPO, REINFORCE)");
}

}  // namespace metarm
