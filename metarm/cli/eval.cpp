#include "metarm/cli/command.h"
#include "metarm/eval/evaluation.h"
#include "metarm/eval/figures.h"

namespace metarm {

namespace {

void run_eval(const EvalOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  const Evaluation evaluation = evaluate(options, parsed, ranks, log);
  print_out(options.common.json ? to_json(evaluation).dump() : to_text(evaluation));
}

}  // namespace

Command eval_command() {
  return make_command<EvalOptions, run_eval>("eval", "figures of a reward model: accuracy, calibration, what a shift did, RewardBench");
}

}  // namespace metarm
