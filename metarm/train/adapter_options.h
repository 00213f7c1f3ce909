// A training whose --model is an adapter goes on with it.
#pragma once

#include <string>

#include "metarm/base/options.h"
#include "metarm/train/training_options.h"

namespace metarm {

// Where the reward model `model` is an adapter, `training` gets its own LoRA options, with which it is trained and written as an adapter
// over the same base. But with --lora-rank 0 all weights are trained, and with --merge-lora new adapters over the merged model: then, and
// where it is no adapter, the options stay. Input error for LoRA options other than the adapter's.
void go_on_with_adapter(const char* command, const std::string& model, TrainingOptions& training, const Parsed& parsed);

}  // namespace metarm
