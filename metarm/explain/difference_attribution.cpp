#include "metarm/explain/difference_attribution.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <numeric>

namespace metarm {

namespace {

double sum(const std::vector<double>& values) { return std::accumulate(values.begin(), values.end(), 0.0); }

// Null where the difference of both is within the tolerance, or nothing more may be done.
PathIntegral* side_to_refine(PathIntegral& a, PathIntegral& b, double tolerance, std::int64_t max_points) {
  if (IntegralError{a.error().sum - b.error().sum, a.error().squares + b.error().squares}.within(tolerance)) return nullptr;
  PathIntegral* const sides[] = {&a, &b};
  PathIntegral* worse = nullptr;
  for (PathIntegral* const side : sides)
    if (side->points() < max_points && (worse == nullptr || side->error().squares > worse->error().squares)) worse = side;
  return worse;
}

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
  if (options.method != AttributionMethod::integrated || options.points > 0)
    return {attribute_reward(reward_model, chosen, baseline, options), attribute_reward(reward_model, rejected, baseline, options)};
  PathIntegral sides[] = {{reward_model, chosen, baseline, options.tokens_per_batch},
                          {reward_model, rejected, baseline, options.tokens_per_batch}};
  for (PathIntegral& side : sides) side.refine_within(options.tolerance * std::abs(side.difference()), options.max_points);
  const double tolerance = options.tolerance * std::abs(sides[0].difference() - sides[1].difference());
  while (PathIntegral* const worse = side_to_refine(sides[0], sides[1], tolerance, options.max_points)) worse->refine(tolerance);
  return {sides[0].attribution(), sides[1].attribution()};
}

}  // namespace metarm
