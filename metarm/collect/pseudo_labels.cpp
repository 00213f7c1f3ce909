#include "metarm/collect/pseudo_labels.h"

#include <algorithm>
#include <cmath>

#include "metarm/collect/temperature.h"

namespace metarm {

namespace {

double score(const ScoredGroup& group, std::span<const double> temperatures, std::size_t response) {
  double sum = 0;
  for (std::size_t model = 0; model < group.rewards.size(); ++model) sum += group.rewards[model][response] / temperatures[model];
  return sum / static_cast<double>(group.rewards.size());
}

struct Belief {
  double probability = 0, agreement = 0;
};
Belief belief(const ScoredGroup& group, std::span<const double> temperatures, std::size_t chosen, std::size_t rejected) {
  Belief mean;
  const auto models = static_cast<double>(group.rewards.size());
  for (std::size_t model = 0; model < group.rewards.size(); ++model) {
    const double margin = group.rewards[model][chosen] - group.rewards[model][rejected];
    mean.probability += prob_better(margin, temperatures[model]) / models;
    mean.agreement += margin > 0 ? 1 : 0;
  }
  mean.agreement /= models;
  return mean;
}

std::optional<bool> is_right(double chosen, double rejected) {
  if (std::isnan(chosen) || std::isnan(rejected) || chosen == rejected) return std::nullopt;
  return chosen > rejected;
}

}  // namespace

std::vector<PseudoPair> make_pseudo_pairs(const ScoredGroup& group, std::span<const double> temperatures, const PseudoLabelRules& rules) {
  std::vector<double> scores;
  for (std::size_t i = 0; i < group.group.responses.size(); ++i) scores.push_back(score(group, temperatures, i));
  std::vector<PseudoPair> pairs;
  const auto add = [&](std::size_t chosen, std::size_t rejected) {
    const double margin = scores[chosen] - scores[rejected];
    if (margin <= rules.min_margin || group.group.responses[chosen] == group.group.responses[rejected]) return;
    const Belief mean = belief(group, temperatures, chosen, rejected);
    if (mean.agreement < rules.min_agreement) return;
    pairs.push_back({chosen, rejected, margin, rules.confidence == ConfidenceKind::margin ? mean.probability : mean.agreement,
                     is_right(group.labels[chosen], group.labels[rejected])});
  };
  if (scores.empty()) return pairs;
  if (rules.choice == PairChoice::best_worst) {
    add(static_cast<std::size_t>(std::ranges::max_element(scores) - scores.begin()),
        static_cast<std::size_t>(std::ranges::min_element(scores) - scores.begin()));
    return pairs;
  }
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (std::size_t j = i + 1; j < scores.size(); ++j) scores[i] >= scores[j] ? add(i, j) : add(j, i);
  return pairs;
}

double confidence_threshold(double first, double last, std::int64_t round, std::int64_t rounds) {
  if (rounds <= 1) return last;
  return first + (last - first) * static_cast<double>(round - 1) / static_cast<double>(rounds - 1);
}

}  // namespace metarm
