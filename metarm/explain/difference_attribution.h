// Which tokens a pair's reward difference comes from: the difference of two attributions (model/attribution.h).
//
//   shared token (of the prefix that both sequences have)   its value in the chosen one - its value in the rejected one
//   token of the chosen response                             its value
//   token of the rejected response                           -1 times its value
//
// So the values add up to difference - baseline difference, where the baselines differ as far as the sequences' lengths do.
#pragma once

#include <cstddef>
#include <vector>

#include "metarm/model/attribution.h"

namespace metarm {

struct DifferenceAttribution {
  std::vector<double> shared, chosen, rejected;  // values of tokens, in order
  double difference = 0, baseline_difference = 0;
  double error() const;  // |sum - (difference - baseline_difference)| / |difference - baseline_difference|
};
DifferenceAttribution difference_attribution(const Attribution& chosen, const Attribution& rejected, std::size_t shared_tokens);

// Both sides' attributions, {chosen, rejected}. Integrated: with points enough that the difference, too, is within the tolerance, up to
// options.max_points.
std::vector<Attribution> attribute_pair(const RewardModel& reward_model, const TokenIds& chosen, const TokenIds& rejected, TokenId baseline,
                                        const AttributionOptions& options);

}  // namespace metarm
