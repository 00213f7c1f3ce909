#include "metarm/shift/prompt_sampler.h"

#include <algorithm>
#include <cmath>

#include "metarm/base/random.h"

namespace metarm {

namespace {

constexpr double kDrawAgain_s = 600;

}  // namespace

PromptSampler::PromptSampler(double rows_per_s, double burst_s, std::uint64_t seed)
    : rate_(rows_per_s), capacity_(std::max(1.0, rows_per_s * burst_s)), seed_(seed), level_(capacity_) {}

bool PromptSampler::keep(std::uint64_t prompt, double now_s) {
  level_ = std::min(capacity_, level_ + rate_ * std::max(0.0, now_s - filled_s_));
  filled_s_ = std::max(filled_s_, now_s);
  const auto period = static_cast<std::uint64_t>(std::max(0.0, std::floor(now_s / kDrawAgain_s)));
  const double share = 2 * level_ / capacity_;
  if (level_ < 1 || (share < 1 && RandomStream(seed_, "shift log sample", prompt, period).uniform() >= share)) return false;
  level_ -= 1;
  return true;
}

}  // namespace metarm
