// Pairs from response groups by the rewards of M reward models: pseudo-labels.
//
//   z_i = 1/M Σ_m r_mi / T_m                          a response's score; margin of a pair: z_i − z_j > 0
//   by margin     confidence = 1/M Σ_m σ((r_mi − r_mj) / T_m)
//   by agreement  confidence = share of the reward models with r_mi > r_mj
//
// best-worst takes the group's highest and lowest score (West-of-N, Pace et al. 2024, arXiv 2401.12086), all every pair. T_m
// (temperature.h) makes rewards of different models comparable; without calibration it is 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "metarm/base/options.h"
#include "metarm/collect/scored_groups.h"

namespace metarm {

enum class PairChoice { best_worst, all };
template <>
struct EnumNames<PairChoice> {
  static constexpr std::pair<PairChoice, const char*> values[] = {{PairChoice::best_worst, "best-worst"}, {PairChoice::all, "all"}};
};
enum class ConfidenceKind { margin, agreement };
template <>
struct EnumNames<ConfidenceKind> {
  static constexpr std::pair<ConfidenceKind, const char*> values[] = {{ConfidenceKind::margin, "margin"},
                                                                      {ConfidenceKind::agreement, "agreement"}};
};

struct PseudoLabelRules {
  PairChoice choice = PairChoice::best_worst;
  double min_margin = 0;  // the margin exceeds it
  ConfidenceKind confidence = ConfidenceKind::margin;
  double min_agreement = 1;  // share of the reward models that put the chosen response first
};

struct PseudoPair {
  std::size_t chosen, rejected;  // places in the group
  double margin, confidence;
  std::optional<bool> right;  // by the labels; absent where one lacks or they are equal
};

// The group's pairs that keep the rules, whatever their confidence; equal responses make none. Ties in score go by place.
std::vector<PseudoPair> make_pseudo_pairs(const ScoredGroup& group, std::span<const double> temperatures, const PseudoLabelRules& rules);

// A threshold that falls over rounds, linearly from `first` in round 1 to `last` in round `rounds`: confident pseudo-labels first (after
// Cascante-Bonilla et al. 2021, arXiv 2001.06001, whose threshold is a falling percentile).
double confidence_threshold(double first, double last, std::int64_t round, std::int64_t rounds);

}  // namespace metarm
