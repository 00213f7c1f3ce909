#include "metarm/cli/command.h"
#include "metarm/cli/training_result.h"
#include "metarm/train/adapter_options.h"
#include "metarm/train/reward_training.h"

namespace metarm {

namespace {

void run_train(const TrainOptions& given, const Parsed& parsed, Ranks& ranks, Log& log) {
  TrainOptions options = given;
  go_on_with_adapter("train", options.model, options.training, parsed);
  print_training_result(train_reward_model(options, parsed, ranks, log), options.output, options.common.json, log);
}

}  // namespace

Command train_command() { return make_command<TrainOptions, run_train>("train", "trains a reward model on preference pairs"); }

}  // namespace metarm
