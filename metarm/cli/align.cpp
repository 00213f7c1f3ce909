#include "metarm/cli/command.h"
#include "metarm/cli/training_result.h"
#include "metarm/meta/alignment.h"
#include "metarm/train/adapter_options.h"

namespace metarm {

namespace {

void run_align(const AlignOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  AlignOptions options = given;
  go_on_with_adapter("align", options.model, options.training, parsed);
  print_training_result(align_reward_model(options, parsed, ranks, log), options.output, options.common.json, log);
}

}  // namespace

Command align_command() {
  return make_command<AlignOptions, run_align>("align",
                                               "aligns a reward model to the responses of the current policy, without labels (MetaRM)");
}

}  // namespace metarm
