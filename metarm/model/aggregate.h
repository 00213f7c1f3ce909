// The rewards that the members of an ensemble give one text, as one reward with its spread (docs/methods/ensembles.md).
#pragma once

#include <span>
#include <utility>
#include <vector>

#include "metarm/base/options.h"

namespace metarm {

// Of rewards r_1 .. r_k with mean m and population standard deviation s:
enum class Aggregate {
  mean,         // m
  min,          // the lowest: the worst case (Coste et al. 2023, arXiv 2310.02743)
  median,       // of an even number, the mean of the two in the middle
  uncertainty,  // m - uncertainty_weight * s^2 (the same paper)
};
template <>
struct EnumNames<Aggregate> {
  static constexpr std::pair<Aggregate, const char*> values[] = {
      {Aggregate::mean, "mean"}, {Aggregate::min, "min"}, {Aggregate::median, "median"}, {Aggregate::uncertainty, "uncertainty"}};
};

struct CombinedReward {
  double reward, deviation;  // s, whatever the aggregate
};
// At least one reward.
CombinedReward combine_rewards(std::span<const double> rewards, Aggregate aggregate, double uncertainty_weight);

// Rewards of groups of sequences, and of an ensemble how far its members are apart on each, in the same shape; no deviations where one
// reward model scored.
struct GroupRewards {
  std::vector<std::vector<float>> rewards, deviations = {};
};

}  // namespace metarm
