#include "metarm/shift/shift_test.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

template <class Values>
double mean(const Values& values) {
  return values.empty() ? 0 : std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation(const std::vector<double>& values) {
  const double centre = mean(values);
  double sum = 0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

template <class Values>
double share_below(const Values& values, double limit) {
  if (values.empty()) return 0;
  const auto below = std::count_if(values.begin(), values.end(), [&](double value) { return value < limit; });
  return static_cast<double>(below) / static_cast<double>(values.size());
}

StreamFigures figures(const StreamTest& test) {
  StreamFigures figures;
  figures.reference = static_cast<std::int64_t>(test.reference().size());
  figures.window = static_cast<std::int64_t>(test.window().size());
  figures.period = test.values();
  figures.reference_mean = mean(test.reference());
  figures.window_mean = mean(test.window());
  figures.distance = kolmogorov_distance(test.reference(), {test.window().begin(), test.window().end()});
  figures.log10_evidence = test.log_capital() / std::numbers::ln10;
  return figures;
}

}  // namespace

double kolmogorov_distance(std::span<const double> reference, std::vector<double> values) {
  if (reference.empty() || values.empty()) return 0;
  std::sort(values.begin(), values.end());
  double distance = 0;
  std::size_t i = 0, j = 0;
  while (i < reference.size() && j < values.size()) {
    const double at = std::min(reference[i], values[j]);
    while (i < reference.size() && reference[i] == at) ++i;
    while (j < values.size() && values[j] == at) ++j;
    distance = std::max(distance, std::abs(static_cast<double>(i) / static_cast<double>(reference.size()) -
                                           static_cast<double>(j) / static_cast<double>(values.size())));
  }
  return distance;
}

StreamTest::StreamTest(std::vector<double> reference, std::int64_t window, RandomStream random)
    : reference_(std::move(reference)), window_size_(window), random_(random) {
  std::sort(reference_.begin(), reference_.end());
  begin_period();
}

void StreamTest::begin_period() {
  sorted_ = reference_;
  martingale_ = {};
  values_ = 0;
}

void StreamTest::add(double value) {
  const auto [first, last] = std::equal_range(sorted_.begin(), sorted_.end(), value);
  const auto below = static_cast<double>(first - sorted_.begin()), equal = static_cast<double>(last - first);
  martingale_.add((below + random_.uniform() * (1 + equal)) / static_cast<double>(sorted_.size() + 1));
  sorted_.insert(last, value);
  ++values_;
  show(value);
}

void StreamTest::show(double value) {
  window_.push_back(value);
  if (static_cast<std::int64_t>(window_.size()) > window_size_) window_.pop_front();
}

ShiftTest::ShiftTest(const ShiftReference& reference, const ShiftTestOptions& options)
    : options_(options),
      differences_(reference.differences, options.window_prompts, RandomStream(options.seed, "shift of differences")),
      rewards_(reference.rewards, options.window_prompts, RandomStream(options.seed, "shift of rewards")) {}

ShiftTest::ShiftTest(std::int64_t prompts, const ShiftTestOptions& options) : ShiftTest(ShiftReference(), options) { wanted_ = prompts; }

void ShiftTest::begin(const ShiftReference& reference) {
  wanted_ = 0;
  if (options_.near_tie == 0) options_.near_tie = 0.1 * deviation(reference.rewards);
  differences_ = StreamTest(reference.differences, options_.window_prompts, RandomStream(options_.seed, "shift of differences"));
  rewards_ = StreamTest(reference.rewards, options_.window_prompts, RandomStream(options_.seed, "shift of rewards"));
}

bool ShiftTest::take(StreamTest& stream, std::vector<double>& collected, double value) {
  if (alarm_) {
    stream.show(value);
    return false;
  }
  if (wanted_ == 0) {
    stream.add(value);
    return decide();
  }
  collected.push_back(value);
  const auto differences = static_cast<std::int64_t>(collected_.differences.size());
  if (differences >= wanted_ || static_cast<std::int64_t>(collected_.rewards.size()) >= 4 * wanted_) begin(std::exchange(collected_, {}));
  return false;
}

bool ShiftTest::add(std::uint64_t prompt, std::uint64_t response, float reward) {
  if (!std::isfinite(reward)) fail_internal("shift test: expected a finite reward, got {}", reward);
  const auto known = seen_.find(prompt);
  if (known == seen_.end()) {
    remember(prompt, {response, reward});
    return take(rewards_, collected_.rewards, reward);
  }
  Seen& seen = known->second;
  const bool repeated = seen.response == response;  // whose reward may differ by rounding
  if (!repeated && !std::exchange(seen.distinct, true)) ++groups_;
  if (std::exchange(seen.complete, true)) return false;
  return take(differences_, collected_.differences, repeated ? 0 : std::abs(static_cast<double>(reward) - seen.reward));
}

void ShiftTest::remember(std::uint64_t prompt, const Seen& seen) {
  seen_.emplace(prompt, seen);
  order_.push_back(prompt);
  if (static_cast<std::int64_t>(order_.size()) <= options_.remembered_prompts) return;
  seen_.erase(order_.front());
  order_.pop_front();
}

bool ShiftTest::decide() {
  const double threshold = std::log(2 / options_.alpha);
  alarm_ = differences_.log_capital() >= threshold || rewards_.log_capital() >= threshold;
  if (!alarm_ && std::max(differences_.values(), rewards_.values()) >= options_.period_prompts) {
    differences_.begin_period();
    rewards_.begin_period();
    ++periods_;
  }
  return alarm_;
}

ShiftState ShiftTest::state() const {
  ShiftState state;
  state.alarm = alarm_;
  state.log10_threshold = std::log10(2 / options_.alpha);
  state.differences = figures(differences_);
  state.rewards = figures(rewards_);
  state.reference_near_ties = share_below(differences_.reference(), options_.near_tie);
  state.window_near_ties = share_below(differences_.window(), options_.near_tie);
  state.periods = periods_;
  state.reference_wanted = wanted_;
  state.reference_collected = static_cast<std::int64_t>(collected_.differences.size());
  return state;
}

}  // namespace metarm
