// The learning rate of each step.
//
//   warm-up    lr · (step + 1) / (warmup_ratio · total)                    in the first warmup_ratio · total steps; one step ahead of
//                                                                          transformers, whose first step has 0 and so does nothing
//   constant   lr
//   linear     lr · (1 − p)                                                p = share of the steps after warm-up that are done before this
//   one cosine     lr · (1 + cos πp) / 2
#pragma once

#include <cstdint>

#include "metarm/train/training_options.h"

namespace metarm {

// step counts from 0 to total_steps - 1.
double scheduled_lr(ScheduleKind kind, double lr, double warmup_ratio, std::int64_t step, std::int64_t total_steps);

}  // namespace metarm
