#include "metarm/eval/rank_agreement.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/eval/quantile.h"

namespace metarm {

namespace {

constexpr std::size_t kResamples = 2000;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// How two models order the pairs of one group.
struct PairOrders {
  double pairs = 0, alike = 0, opposed = 0;
  double first_ties = 0, second_ties = 0;
};

PairOrders count_orders(std::span<const float> first, std::span<const float> second) {
  if (first.size() != second.size()) fail_internal("rank agreement: expected rewards of the same responses");
  PairOrders counts;
  for (std::size_t i = 0; i < first.size(); ++i) {
    for (std::size_t j = i + 1; j < first.size(); ++j) {
      const double of_first = static_cast<double>(first[i]) - first[j], of_second = static_cast<double>(second[i]) - second[j];
      if (std::isnan(of_first) || std::isnan(of_second)) continue;
      ++counts.pairs;
      counts.first_ties += of_first == 0;
      counts.second_ties += of_second == 0;
      if (of_first == 0 || of_second == 0) continue;
      ++((of_first > 0) == (of_second > 0) ? counts.alike : counts.opposed);
    }
  }
  return counts;
}

double tau_b(const PairOrders& counts) {
  const double untied = (counts.pairs - counts.first_ties) * (counts.pairs - counts.second_ties);
  return untied > 0 ? (counts.alike - counts.opposed) / std::sqrt(untied) : kNone;
}

}  // namespace

double kendall_tau_b(std::span<const float> a, std::span<const float> b) { return tau_b(count_orders(a, b)); }

Interval bootstrap_interval(std::span<const double> sums, std::span<const double> counts, std::uint64_t seed) {
  std::vector<double> shares;
  for (std::size_t draw = 0; draw < kResamples && !sums.empty(); ++draw) {
    RandomStream random(seed, "bootstrap", draw);
    double sum = 0, count = 0;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const std::size_t prompt = random.below(sums.size());
      sum += sums[prompt];
      count += counts[prompt];
    }
    if (count > 0) shares.push_back(sum / count);
  }
  if (shares.empty()) return {kNone, kNone};
  std::ranges::sort(shares);
  return {quantile(shares, 0.025), quantile(shares, 0.975)};
}

RankAgreement rank_agreement(std::span<const std::vector<float>> rewards, std::span<const std::vector<float>> second, std::uint64_t seed) {
  if (rewards.size() != second.size()) fail_internal("rank_agreement: expected the same groups");
  RankAgreement agreement;
  std::vector<double> taus, right, told_apart;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    const PairOrders counts = count_orders(rewards[i], second[i]);
    if (const double tau = tau_b(counts); std::isnan(tau))
      ++agreement.undefined;
    else
      taus.push_back(tau);
    right.push_back(counts.alike);
    told_apart.push_back(counts.pairs - counts.second_ties);
  }
  agreement.groups = static_cast<std::int64_t>(taus.size());
  const std::vector<double> ones(taus.size(), 1.0);
  if (!taus.empty()) agreement.tau_b = std::reduce(taus.begin(), taus.end()) / static_cast<double>(taus.size());
  agreement.tau_b_interval = bootstrap_interval(taus, ones, seed);
  const double pairs = std::reduce(told_apart.begin(), told_apart.end());
  agreement.pairs = static_cast<std::int64_t>(pairs);
  if (pairs > 0) agreement.accuracy = std::reduce(right.begin(), right.end()) / pairs;
  agreement.accuracy_interval = bootstrap_interval(right, told_apart, seed);
  return agreement;
}

}  // namespace metarm
