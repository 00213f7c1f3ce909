#include "metarm/eval/statistics.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "metarm/base/error.h"

namespace metarm {

Interval wilson_interval(std::int64_t successes, std::int64_t trials) {
  if (trials <= 0) fail_internal("wilson_interval: expected at least one trial");
  const double z = 1.959963984540054, n = static_cast<double>(trials), p = static_cast<double>(successes) / n;
  const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

namespace {

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

class Calibration {
 public:
  void add(double margin) {
    const double confidence = 1.0 / (1.0 + std::exp(-std::abs(margin)));  // in [0.5, 1]
    Bin& bin = bins_[std::min<std::size_t>(9, static_cast<std::size_t>((confidence - 0.5) * 20.0))];
    bin.confidence += confidence;
    bin.right += margin > 0;
    ++bin.pairs;
  }

  void finish(PairStatistics& statistics) const {
    for (const Bin& bin : bins_) {
      if (bin.pairs == 0) continue;
      const auto n = static_cast<double>(bin.pairs);
      const CalibrationBin made{bin.confidence / n, static_cast<double>(bin.right) / n, bin.pairs};
      statistics.calibration_error += n / static_cast<double>(statistics.pairs) * std::abs(made.mean_confidence - made.accuracy);
      statistics.calibration.push_back(made);
    }
  }

 private:
  struct Bin {
    double confidence = 0;
    std::int64_t right = 0, pairs = 0;
  };
  std::array<Bin, 10> bins_{};
};

}  // namespace

PairStatistics pair_statistics(std::span<const PairRewards> rewards) {
  PairStatistics statistics;
  statistics.pairs = static_cast<std::int64_t>(rewards.size());
  if (rewards.empty()) return statistics;
  const auto n = static_cast<double>(rewards.size());
  std::int64_t right = 0;
  double squares = 0;
  Calibration calibration;
  for (const PairRewards& pair : rewards) {
    const double margin = static_cast<double>(pair.chosen) - pair.rejected;
    right += margin > 0;
    statistics.loss += softplus(-margin) / n;
    const double surprise = 1.0 / (1.0 + std::exp(margin));
    statistics.brier += surprise * surprise / n;
    statistics.mean_margin += margin / n;
    statistics.mean_reward += (static_cast<double>(pair.chosen) + pair.rejected) / (2 * n);
    calibration.add(margin);
  }
  for (const PairRewards& pair : rewards)
    for (const float reward : {pair.chosen, pair.rejected})
      squares += (reward - statistics.mean_reward) * (reward - statistics.mean_reward);
  statistics.reward_deviation = std::sqrt(squares / (2 * n));
  statistics.accuracy = static_cast<double>(right) / n;
  statistics.accuracy_interval = wilson_interval(right, statistics.pairs);
  calibration.finish(statistics);
  return statistics;
}

DifferenceStatistics difference_statistics(std::span<const std::vector<float>> group_rewards, double deviation, double near_tie) {
  DifferenceStatistics statistics;
  statistics.deviation = deviation;
  statistics.near_tie = near_tie;
  statistics.histogram.assign(deviation > 0 ? 17 : 0, 0);
  for (const std::vector<float>& rewards : group_rewards) {
    if (rewards.size() < 2) fail_internal("difference_statistics: expected groups of at least two rewards");
    const double pairs = static_cast<double>(rewards.size() * (rewards.size() - 1)) / 2;
    for (std::size_t i = 0; i < rewards.size(); ++i) {
      for (std::size_t j = i + 1; j < rewards.size(); ++j) {
        const double difference = std::abs(static_cast<double>(rewards[i]) - rewards[j]);
        statistics.mean += difference / pairs;
        statistics.variance += difference * difference / pairs;
        if (deviation <= 0) continue;
        statistics.near_ties += (difference < near_tie * deviation) / pairs;
        ++statistics.histogram[static_cast<std::size_t>(std::min(16.0, difference / deviation / kHistogramStep))];
      }
    }
    ++statistics.groups;
  }
  if (statistics.groups == 0) return statistics;
  const auto groups = static_cast<double>(statistics.groups);
  for (double* figure : {&statistics.mean, &statistics.variance, &statistics.near_ties}) *figure /= groups;
  if (deviation > 0) {
    statistics.scaled_mean = statistics.mean / deviation;
    statistics.scaled_variance = statistics.variance / (deviation * deviation);
  }
  return statistics;
}

}  // namespace metarm
