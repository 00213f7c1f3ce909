// What `train` and `align` say at their end.
#pragma once

#include <optional>
#include <string>

#include "metarm/base/log.h"
#include "metarm/train/loop.h"

namespace metarm {

// `summary` absent: the run was finished before this call. As JSON on stdout, or as text to the log.
void print_training_result(const std::optional<TrainingSummary>& summary, const std::string& output, bool json, Log& log);

}  // namespace metarm
