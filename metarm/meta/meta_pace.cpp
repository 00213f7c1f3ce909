#include "metarm/meta/meta_pace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace metarm {

MetaPace::MetaPace(const AlignOptions& options, std::size_t modes)
    : start_(options.meta_lr),
      max_interval_(static_cast<double>(options.max_meta_interval)),
      adapt_(options.meta_adapt),
      backoff_(options.meta_backoff),
      moves_meta_lr_((adapt_ > 0 || backoff_ < 1) && options.meta_adapt_target != MetaAdaptTarget::interval),
      moves_interval_((adapt_ > 0 || backoff_ < 1) && options.meta_adapt_target != MetaAdaptTarget::meta_lr),
      modes_(adapt_ > 0 ? modes : 1, Mode{options.meta_lr}) {}

MetaPace::Turn MetaPace::turn(std::int64_t step) const {
  const std::size_t mode = static_cast<std::size_t>(step) % modes_.size();
  if (!moves_interval_) return {mode, true, step, step};
  double steps = 0;
  for (const Mode& other : modes_) steps += other.steps;
  const auto turns_of_all = static_cast<std::int64_t>(modes_[mode].steps) * static_cast<std::int64_t>(modes_.size());
  return {mode, modes_[mode].wait <= 0, turns_of_all + static_cast<std::int64_t>(mode), static_cast<std::int64_t>(steps)};
}

Json MetaPace::figures(const Turn& turn) const {
  Json figures = Json::object();
  if (moves_meta_lr_ && turn.is_due) figures["meta_lr"] = modes_[turn.mode].meta_lr;
  if (moves_interval_) figures["meta_interval"] = modes_[turn.mode].interval;
  if (adapt_ > 0) figures["mode"] = turn.mode;
  return figures;
}

void MetaPace::scale(Mode& mode, double factor) const {
  if (moves_meta_lr_) mode.meta_lr = std::clamp(mode.meta_lr * factor, start_ / 10, start_ * 10);
  if (moves_interval_) mode.interval = std::clamp(mode.interval / factor, 1.0, max_interval_);
}

void MetaPace::end(const Turn& turn, double agreement) {
  Mode& mode = modes_[turn.mode];
  if (turn.is_due) {
    if (std::isfinite(agreement)) scale(mode, std::exp(-adapt_ * agreement));
    mode.wait += mode.interval;
    mode.steps += 1;
  }
  mode.wait -= 1;
}

void MetaPace::back_off() {
  for (Mode& mode : modes_) scale(mode, backoff_);
}

std::vector<std::pair<std::string, double*>> MetaPace::numbers() {
  std::vector<std::pair<std::string, double*>> numbers;
  for (std::size_t i = 0; i < modes_.size(); ++i) {
    Mode& mode = modes_[i];
    if (moves_meta_lr_) numbers.emplace_back(fmt::format("meta_lr_{}", i), &mode.meta_lr);
    if (!moves_interval_) continue;
    numbers.emplace_back(fmt::format("meta_interval_{}", i), &mode.interval);
    numbers.emplace_back(fmt::format("meta_wait_{}", i), &mode.wait);
    numbers.emplace_back(fmt::format("meta_steps_{}", i), &mode.steps);
  }
  return numbers;
}

}  // namespace metarm
