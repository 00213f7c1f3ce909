#include "metarm/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace metarm {

double scheduled_lr(ScheduleKind kind, double lr, double warmup_ratio, std::int64_t step, std::int64_t total_steps) {
  const auto warmup_steps = static_cast<std::int64_t>(std::ceil(warmup_ratio * static_cast<double>(total_steps)));
  if (step < warmup_steps) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const double done = static_cast<double>(step - warmup_steps) / static_cast<double>(std::max<std::int64_t>(total_steps - warmup_steps, 1));
  switch (kind) {
    case ScheduleKind::constant: return lr;
    case ScheduleKind::linear: return lr * (1 - done);
    case ScheduleKind::cosine: return lr * (1 + std::cos(std::numbers::pi * done)) / 2;
  }
  return lr;
}

}  // namespace metarm
