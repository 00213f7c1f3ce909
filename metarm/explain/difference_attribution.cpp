#include "metarm/explain/difference_attribution.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>

namespace metarm {

namespace {

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

}  // namespace

double DifferenceAttribution::error() const {
  const double expected = difference - baseline_difference;
  return std::abs(sum(shared) + sum(chosen) + sum(rejected) - expected) / std::max(std::abs(expected), 1e-12);
}

DifferenceAttribution difference_attribution(const Attribution& chosen, const Attribution& rejected, std::size_t shared_tokens) {
  DifferenceAttribution found;
  for (std::size_t i = 0; i < shared_tokens; ++i) found.shared.push_back(chosen.values[i] - rejected.values[i]);
  const auto own = static_cast<std::ptrdiff_t>(shared_tokens);
  found.chosen.assign(chosen.values.begin() + own, chosen.values.end());
  std::transform(rejected.values.begin() + own, rejected.values.end(), std::back_inserter(found.rejected), std::negate<>());
  found.difference = chosen.reward - rejected.reward;
  found.baseline_difference = chosen.baseline_reward - rejected.baseline_reward;
  return found;
}

std::vector<Attribution> attribute_pair(const RewardModel& reward_model, const TokenIds& chosen, const TokenIds& rejected, TokenId baseline,
                                        const AttributionOptions& options) {
  const TokenIds* const tokens[] = {&chosen, &rejected};
  std::vector<Attribution> sides;
  for (const TokenIds* side : tokens) sides.push_back(attribute_reward(reward_model, *side, baseline, options));
  AttributionOptions more = options;
  for (;;) {
    const std::int64_t points = std::min(sides[0].points, sides[1].points);
    if (!options.integrated || points >= options.max_points) return sides;
    if (difference_attribution(sides[0], sides[1], 0).error() <= options.tolerance) return sides;
    more.first_points = std::min(2 * points, options.max_points);
    for (std::size_t i = 0; i < 2; ++i)
      if (sides[i].points < more.first_points) sides[i] = attribute_reward(reward_model, *tokens[i], baseline, more);
  }
}

}  // namespace metarm
