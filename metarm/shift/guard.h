// Whether a newly aligned reward model may take the place of the one that is served: a function of what both say about the same held-out
// pairs and response groups.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/eval/statistics.h"

namespace metarm {

// The served reward: scale * reward + offset, scale > 0. It changes no order.
struct AffineMap {
  double scale = 1, offset = 0;
  double operator()(double reward) const { return scale * reward + offset; }
};

// Of all rewards of the pairs; population standard deviation.
struct RewardScale {
  double mean = 0, deviation = 0;
};
RewardScale reward_scale(std::span<const PairRewards> pairs);
// The map that gives rewards of scale `from` the mean and deviation of `to`. Both deviations positive.
AffineMap keep_scale(const RewardScale& from, const RewardScale& to);

// What happened to pairs that were right (chosen above rejected; a tie is wrong) in the served model or in the candidate.
struct AccuracyChange {
  std::int64_t pairs = 0, gained = 0, lost = 0;
  double change = 0;  // (gained - lost) / pairs
  double lower = 0;   // one-sided confidence bound of the change
};
// The bound is Tango's score interval for paired proportions ("Equivalence test and confidence interval for the difference in proportions
// for the paired-sample design", Statistics in Medicine 17, 1998): the smallest change d at which
//   (gained - lost - n d) / sqrt(n (2 q + d (1 - d))) <= z,   q the likeliest probability of a loss given d.
// It needs no discordant pair to be sensible. 0 <= confidence < 1; pairs > 0.
AccuracyChange accuracy_change(std::span<const PairRewards> served, std::span<const PairRewards> candidate, double confidence);
double paired_change_lower_bound(std::int64_t pairs, std::int64_t gained, std::int64_t lost, double confidence);

// Discrimination: a group's mean |reward difference| over its pairs of responses, divided by the model's reward deviation on the pairs, so
// that a mere growth of the rewards counts for nothing.
struct DiscriminationChange {
  std::int64_t groups = 0;
  double served = 0, candidate = 0;  // means over groups
  double upper = 0;                  // one-sided confidence bound of candidate - served: normal, of the groups' paired changes
};

struct GuardLimits {
  double accuracy_margin = 0.01;  // the fall of accuracy that is borne: the change's lower bound must not be below its negative
  double confidence = 0.95;       // of the one-sided bounds
  double max_rescale = 10;        // of the candidate's deviation on the pairs, up or down
};

// Rewards of the same rows in the same order; `served` as they are served, so after the present model's map, `candidate` as they come.
struct GuardMeasures {
  std::vector<PairRewards> served_pairs, candidate_pairs;
  std::vector<PairRewards> first_pairs = {};  // by the first version of all, on whatever scale; empty: it is the served one
  std::vector<std::vector<float>> served_groups, candidate_groups;  // at least two rewards each; may be none
  AffineMap served_map = {};                                        // the one that the served rewards have gone through
};

struct GuardDecision {
  bool admitted = false;
  std::vector<std::string> reasons;  // a sentence for each check that was made; those that speak against it begin with "rejected: "
  AffineMap map;                     // for the candidate; the identity where it cannot be had
  RewardScale served_scale, candidate_scale;
  AccuracyChange accuracy;
  std::optional<AccuracyChange> accuracy_since_first;
  DiscriminationChange discrimination;
};

// Admitted where every reward is a finite number; the candidate's deviation on the pairs is within `max_rescale` of the served model's
// before its map; accuracy has not fallen by more than the margin, with confidence, neither since the served version nor since the first,
// so that it does not wear away over many; and discrimination, where there are at least two groups, has not fallen significantly. Rewards
// that are not finite, or all alike, end the checks. Input error for no pairs; internal error for rows that do not match, or groups of one.
GuardDecision decide_admission(const GuardMeasures& measures, const GuardLimits& limits);

}  // namespace metarm
