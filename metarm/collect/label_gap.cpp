#include "metarm/collect/label_gap.h"

#include <cmath>
#include <utility>

#include "metarm/collect/temperature.h"

namespace metarm {

double label_gap(double reward_difference, bool tie) { return std::abs(prob_better(reward_difference, 1) - (tie ? 0.5 : 1)); }

GapFilter keep_wide_gaps(std::vector<CollectedPair> pairs, double min_gap, const RewardDifferences& reward_differences) {
  std::vector<const Pair*> asked;
  for (const CollectedPair& pair : pairs) asked.push_back(&pair.pair);
  const std::vector<std::optional<double>> differences = reward_differences(asked);
  GapFilter kept;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (!differences[i])
      ++kept.not_scored;
    else if (label_gap(*differences[i], pairs[i].tie) < min_gap)
      ++kept.known[pairs[i].kind];
    else
      kept.pairs.push_back(std::move(pairs[i]));
  }
  return kept;
}

}  // namespace metarm
