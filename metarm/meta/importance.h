// Importance-weighted pairs (OCRM, arXiv 2507.15507), `--method importance`: an old pair counts the more, the likelier the current policy π
// is to write its two responses than π₀, which wrote them, was.
//
//   w_i = exp(τ s_i) / mean over pairs j of exp(τ s_j),   s_i = Σ over the responses y of pair i of log π(y|x) − log π₀(y|x)
//
// with sums over the response's tokens. Divided by their mean, so that --lr means what it means without weights. w_i multiplies the pair's
// own weight; held-out pairs have none. Range (0, n] for n pairs; mean 1. Constant while the reward model trains.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/data/encode.h"
#include "metarm/eval/policy_log_ratios.h"
#include "metarm/meta/align_options.h"

namespace metarm {

struct ImportanceWeights {
  std::vector<double> of_pairs;
  double effective_share = 1;  // (Σ w)² / (n Σ w²), from 1/n, where one pair has all the weight, to 1
  double min = 1, max = 1;

  // Of a step with the pairs `rows`: importance, their mean weight; of all pairs importance_effective_share, importance_min,
  // importance_max.
  Json figures(std::span<const std::int64_t> rows) const;
};

// `log_ratios` s, finite, one a pair and at least one; `temperature` τ.
ImportanceWeights importance_weights(std::span<const double> log_ratios, double temperature);

// The responses of `pairs`, which were encoded from `rows`, as the policies' tokens: a group of two for each. A pair with a response that
// alone is longer than --max-length there leaves `pairs`, which the log says; input error where none is left.
SequenceGroups encode_for_policies(const AlignOptions& options, const std::vector<Pair>& rows, std::vector<EncodedPair>& pairs, Log& log);

// Computes the weights, in the run's compute type, and multiplies those of `pairs` by them. All ranks together.
ImportanceWeights weigh_pairs(const AlignOptions& options, SequenceGroups sequences, std::vector<EncodedPair>& pairs, Ranks& ranks,
                              Log& log);

}  // namespace metarm
