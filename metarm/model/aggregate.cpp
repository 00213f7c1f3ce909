#include "metarm/model/aggregate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "metarm/base/error.h"

namespace metarm {

namespace {

double median(std::span<const double> rewards) {
  std::vector<double> sorted(rewards.begin(), rewards.end());
  std::ranges::sort(sorted);
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace

CombinedReward combine_rewards(std::span<const double> rewards, Aggregate aggregate, double uncertainty_weight) {
  if (rewards.empty()) fail_internal("combine_rewards: expected at least one reward, got none");
  const auto count = static_cast<double>(rewards.size());
  const double mean = std::accumulate(rewards.begin(), rewards.end(), 0.0) / count;
  double squares = 0;
  for (const double reward : rewards) squares += (reward - mean) * (reward - mean);
  const double variance = squares / count, deviation = std::sqrt(variance);
  switch (aggregate) {
    case Aggregate::mean: return {mean, deviation};
    case Aggregate::min: return {std::ranges::min(rewards), deviation};
    case Aggregate::median: return {median(rewards), deviation};
    case Aggregate::uncertainty: return {mean - uncertainty_weight * variance, deviation};
  }
  fail_internal("unknown aggregate");
}

}  // namespace metarm
