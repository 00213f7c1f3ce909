#include "metarm/shift/guard.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// The standard normal distribution's quantile, by bisection of its distribution function.
double normal_quantile(double probability) {
  double low = -40, high = 40;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(-middle / std::sqrt(2.0)) < probability ? low : high) = middle;
  }
  return low;
}

// Tango's statistic: how many standard errors the observed change lies above `change`.
double score(double n, double gained, double lost, double change) {
  const double b = gained + lost - (2 * n - gained + lost) * change;
  const double q = (b + std::sqrt(std::max(0.0, b * b + 8 * n * lost * change * (1 - change)))) / (4 * n);
  const double variance = n * (2 * q + change * (1 - change));
  const double excess = gained - lost - n * change;
  return variance > 0 ? excess / std::sqrt(variance) : excess > 0 ? std::numeric_limits<double>::infinity() : 0;
}

bool is_right(const PairRewards& pair) { return pair.chosen > pair.rejected; }

bool all_finite(const GuardMeasures& measures) {
  const auto pair_is = [](const PairRewards& pair) { return std::isfinite(pair.chosen) && std::isfinite(pair.rejected); };
  const auto group_is = [](const std::vector<float>& rewards) {
    return std::all_of(rewards.begin(), rewards.end(), [](float reward) { return std::isfinite(reward); });
  };
  return std::all_of(measures.candidate_pairs.begin(), measures.candidate_pairs.end(), pair_is) &&
         std::all_of(measures.candidate_groups.begin(), measures.candidate_groups.end(), group_is);
}

double mean_difference(const std::vector<float>& rewards) {
  double sum = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i)
    for (std::size_t j = i + 1; j < rewards.size(); ++j) sum += std::abs(static_cast<double>(rewards[i]) - rewards[j]);
  return sum / (static_cast<double>(rewards.size() * (rewards.size() - 1)) / 2);
}

DiscriminationChange discrimination_change(const GuardMeasures& measures, double served_deviation, double candidate_deviation,
                                           double confidence) {
  DiscriminationChange result;
  double changes = 0, squares = 0;
  for (std::size_t i = 0; i < measures.served_groups.size(); ++i) {
    const double served = mean_difference(measures.served_groups[i]) / served_deviation;
    const double candidate = mean_difference(measures.candidate_groups[i]) / candidate_deviation;
    result.served += served;
    result.candidate += candidate;
    changes += candidate - served;
    squares += (candidate - served) * (candidate - served);
    ++result.groups;
  }
  if (result.groups == 0) return result;
  const auto n = static_cast<double>(result.groups);
  result.served /= n;
  result.candidate /= n;
  const double variance = result.groups > 1 ? std::max(0.0, (squares - changes * changes / n) / (n - 1)) : 0;
  result.upper = changes / n + normal_quantile(confidence) * std::sqrt(variance / n);
  return result;
}

void check_rows(const GuardMeasures& measures) {
  if (measures.served_pairs.empty()) fail_input("guard: expected held-out pairs to judge a reward model by, got none");
  if (measures.served_pairs.size() != measures.candidate_pairs.size() || measures.served_groups.size() != measures.candidate_groups.size())
    fail_internal("guard: expected rewards of the same rows from both models");
  if (!measures.first_pairs.empty() && measures.first_pairs.size() != measures.served_pairs.size())
    fail_internal("guard: expected rewards of the same pairs from the first model");
  for (std::size_t i = 0; i < measures.served_groups.size(); ++i)
    if (measures.served_groups[i].size() < 2 || measures.served_groups[i].size() != measures.candidate_groups[i].size())
      fail_internal("guard: expected at least two rewards of a group, and the same number from both models");
}

// The sentences of a decision.
class Verdict {
 public:
  explicit Verdict(GuardDecision& decision) : decision_(decision) { decision_.admitted = true; }
  void add(bool good, const std::string& sentence) {
    decision_.admitted = decision_.admitted && good;
    decision_.reasons.push_back(good ? sentence : "rejected: " + sentence);
  }

 private:
  GuardDecision& decision_;
};

void judge_scale(GuardDecision& decision, const GuardMeasures& measures, const GuardLimits& limits, Verdict& verdict) {
  const double before = decision.served_scale.deviation / measures.served_map.scale, ratio = decision.candidate_scale.deviation / before;
  decision.map = keep_scale(decision.candidate_scale, decision.served_scale);
  verdict.add(ratio <= limits.max_rescale && ratio >= 1 / limits.max_rescale,
              fmt::format("reward deviation on the pairs {:.4g}, {:.4g} before; a factor of up to {:g} is taken out by the affine map",
                          decision.candidate_scale.deviation, before, limits.max_rescale));
}

void judge_accuracy(const AccuracyChange& change, const char* what, const GuardLimits& limits, Verdict& verdict) {
  verdict.add(change.lower >= -limits.accuracy_margin,
              fmt::format("{} changed by {:+.4f} on {} held-out pairs ({} gained, {} lost); with {:g} % confidence by no less than "
                          "{:+.4f}, and {:+.4f} is borne",
                          what, change.change, change.pairs, change.gained, change.lost, 100 * limits.confidence, change.lower,
                          -limits.accuracy_margin));
}

void judge_discrimination(GuardDecision& decision, const GuardLimits& limits, Verdict& verdict) {
  const DiscriminationChange& change = decision.discrimination;
  if (change.groups < 2) {
    verdict.add(true, fmt::format("discrimination was not judged: expected at least 2 held-out groups, got {}", change.groups));
    return;
  }
  verdict.add(
      change.upper >= 0,
      fmt::format("mean reward difference in {} held-out groups {:.4f} deviations, {:.4f} before; with {:g} % confidence changed by no "
                  "more than {:+.4f}",
                  change.groups, change.candidate, change.served, 100 * limits.confidence, change.upper));
}

}  // namespace

RewardScale reward_scale(std::span<const PairRewards> pairs) {
  const double n = 2 * static_cast<double>(pairs.size());
  RewardScale scale;
  for (const PairRewards& pair : pairs) scale.mean += static_cast<double>(pair.chosen) + pair.rejected;
  if (pairs.empty()) return scale;
  scale.mean /= n;
  double squares = 0;
  for (const PairRewards& pair : pairs)
    for (const float reward : {pair.chosen, pair.rejected}) squares += (reward - scale.mean) * (reward - scale.mean);
  scale.deviation = std::sqrt(squares / n);
  return scale;
}

AffineMap keep_scale(const RewardScale& from, const RewardScale& to) {
  const double scale = to.deviation / from.deviation;
  return {scale, to.mean - scale * from.mean};
}

double paired_change_lower_bound(std::int64_t pairs, std::int64_t gained, std::int64_t lost, double confidence) {
  const double z = normal_quantile(confidence), n = static_cast<double>(pairs);
  // The statistic falls from above z at -1 to 0 at the observed change.
  double low = -1, high = static_cast<double>(gained - lost) / n;
  while (high - low > 1e-12) {
    const double middle = (low + high) / 2;
    (score(n, static_cast<double>(gained), static_cast<double>(lost), middle) > z ? low : high) = middle;
  }
  return high;
}

AccuracyChange accuracy_change(std::span<const PairRewards> served, std::span<const PairRewards> candidate, double confidence) {
  AccuracyChange result;
  result.pairs = static_cast<std::int64_t>(served.size());
  for (std::size_t i = 0; i < served.size(); ++i) {
    result.gained += !is_right(served[i]) && is_right(candidate[i]);
    result.lost += is_right(served[i]) && !is_right(candidate[i]);
  }
  result.change = static_cast<double>(result.gained - result.lost) / static_cast<double>(result.pairs);
  result.lower = paired_change_lower_bound(result.pairs, result.gained, result.lost, confidence);
  return result;
}

GuardDecision decide_admission(const GuardMeasures& measures, const GuardLimits& limits) {
  check_rows(measures);
  GuardDecision decision;
  Verdict verdict(decision);
  if (!all_finite(measures)) {
    verdict.add(false, "a reward on the held-out rows is not a finite number");
    return decision;
  }
  decision.served_scale = reward_scale(measures.served_pairs);
  decision.candidate_scale = reward_scale(measures.candidate_pairs);
  if (!(decision.candidate_scale.deviation > 0) || !(decision.served_scale.deviation > 0)) {
    verdict.add(false, fmt::format("rewards on the pairs are all alike in the {} model",
                                   decision.candidate_scale.deviation > 0 ? "served" : "new"));
    return decision;
  }
  judge_scale(decision, measures, limits, verdict);
  decision.accuracy = accuracy_change(measures.served_pairs, measures.candidate_pairs, limits.confidence);
  judge_accuracy(decision.accuracy, "accuracy", limits, verdict);
  if (!measures.first_pairs.empty()) {
    decision.accuracy_since_first = accuracy_change(measures.first_pairs, measures.candidate_pairs, limits.confidence);
    judge_accuracy(*decision.accuracy_since_first, "accuracy since version 1", limits, verdict);
  }
  decision.discrimination =
      discrimination_change(measures, decision.served_scale.deviation, decision.candidate_scale.deviation, limits.confidence);
  judge_discrimination(decision, limits, verdict);
  return decision;
}

}  // namespace metarm
