// How far two reward models order the responses to one prompt alike. Pure functions of rewards; one vector a prompt, NaN where a response
// was not scored.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "metarm/eval/statistics.h"

namespace metarm {

// Kendall's tau-b (Kendall 1945), over the n responses that both have scored:
//
//   (C − D) / sqrt((P − T_a) (P − T_b)),   P = n (n − 1) / 2
//
// C, D: pairs that the two order alike, the other way round; T: pairs that one of them ties. In [-1, 1]; NaN where one ties them all.
// Cost O(n²).
double kendall_tau_b(std::span<const float> a, std::span<const float> b);

struct RankAgreement {
  std::int64_t groups = 0;     // with a defined tau-b
  std::int64_t undefined = 0;  // with none: fewer than two responses scored by both, or one of the two ties them all
  double tau_b = std::numeric_limits<double>::quiet_NaN();  // mean over groups
  Interval tau_b_interval{};
  // The second model as if it were gold: of the pairs within a group that it tells apart, the share that the first orders the same way; a
  // pair that the first ties counts as wrong. NaN where there is no such pair.
  std::int64_t pairs = 0;
  double accuracy = std::numeric_limits<double>::quiet_NaN();
  Interval accuracy_interval{};
};
// Intervals are bootstrap_interval's over prompts.
RankAgreement rank_agreement(std::span<const std::vector<float>> rewards, std::span<const std::vector<float>> second, std::uint64_t seed);

// The 95 % percentile interval of Σ sums / Σ counts when prompts are drawn again with replacement, 2000 times: pairs of one prompt share
// their responses, prompts are independent. Equal seeds repeat it. NaN without a count above 0.
Interval bootstrap_interval(std::span<const double> sums, std::span<const double> counts, std::uint64_t seed);

}  // namespace metarm
