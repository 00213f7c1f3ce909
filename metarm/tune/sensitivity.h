// How much a figure depended on each option: of the first rung alone, whose trials all had the same steps. Pure functions of ranks, so that
// neither a scale nor one wild figure decides; a failed trial has the worst rank. All is marginal: what other options did counts as noise.
//
//   rank_correlation   Spearman's, of an option that is a number. It sees what rises or falls, not a best value in the middle
//   share              of the variance of the figure's ranks: by the least-squares parabola in the option's ranks, which sees a middle too;
//                      of choices, by the means of each. Less what chance explains: (R^2 - m) / (1 - m), at least 0, with m the mean R^2 of
//                      permutations, which for k terms and n trials is near k / (n - 1)
//   p                  how often a permutation explains as much, (1 + count) / (1 + permutations)
//
// Chance is what 2000 random permutations of the figures over the trials give, with the same values: a Latin hypercube's orders are random
// and independent, so they are as likely as the one that was drawn where the option has no effect.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"

namespace metarm {

// NaN where it is not defined: figures or values all alike, or as many choices as trials.
struct Sensitivity {
  double rank_correlation = 0;
  double chance_low = 0, chance_high = 0;  // of the correlation: 95 % of permutations are between
  double share = 0;
  double chance_share = 0;  // 95 % of permutations are at most there
  double p = 1;
};

// `goodness` of each trial: greater is better; -infinity of those that failed. At least three trials.
Sensitivity sensitivity_to_number(std::span<const double> values, std::span<const double> goodness, std::uint64_t seed);
// `choices`: each trial's, counted from 0; the correlation is NaN.
Sensitivity sensitivity_to_choice(std::span<const std::int64_t> choices, std::span<const double> goodness, std::uint64_t seed);

// 1 for the least; equal values share the mean of their ranks.
std::vector<double> mean_ranks(std::span<const double> values);

Json to_json(const Sensitivity& sensitivity);  // null for NaN

}  // namespace metarm
