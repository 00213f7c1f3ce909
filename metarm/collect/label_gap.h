// Which synthetic pairs a reward model has still to learn: RRM's filter (Liu et al. 2024, arXiv 2409.13156), which keeps an augmented pair
// where the probability that the reward model gives it is far from its label:
//
//   gap = |σ(d) − p|,   d = r(x, chosen) − r(x, rejected),   p = 1, or 1/2 of a tie
//
// A gap of 0.2, the paper's threshold, is reached by a pair with d ≤ log 4 = 1.39, and by a tie with |d| ≥ log(7/3) = 0.85.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/collect/collected_pair.h"

namespace metarm {

double label_gap(double reward_difference, bool tie);

// r(x, chosen) − r(x, rejected) of each pair; nullopt: it cannot be scored.
using RewardDifferences = std::function<std::vector<std::optional<double>>(std::span<const Pair* const> pairs)>;

struct GapFilter {
  std::vector<CollectedPair> pairs;           // those with a gap of min_gap or more, in order
  std::map<std::string, std::int64_t> known;  // left out, of each kind
  std::int64_t not_scored = 0;                // left out too
};
GapFilter keep_wide_gaps(std::vector<CollectedPair> pairs, double min_gap, const RewardDifferences& reward_differences);

}  // namespace metarm
