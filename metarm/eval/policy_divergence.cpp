#include "metarm/eval/policy_divergence.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <optional>
#include <utility>

namespace metarm {

Estimate ratio_estimate(std::span<const double> sums, std::span<const double> counts) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  double sum = 0, count = 0, squares = 0;
  for (std::size_t i = 0; i < sums.size(); ++i) {
    sum += sums[i];
    count += counts[i];
  }
  if (!(count > 0)) return {kNone, kNone};
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const double residual = sums[i] - sum / count * counts[i];
    squares += residual * residual;
  }
  const auto clusters = static_cast<double>(sums.size());
  return {sum / count, clusters > 1 ? std::sqrt(clusters / (clusters - 1) * squares) / count : kNone};
}

PolicyDivergence policy_divergence(std::span<const std::vector<LogRatio>> groups) {
  PolicyDivergence divergence;
  std::vector<double> responses, tokens, k1, k3;
  for (const std::vector<LogRatio>& group : groups) {
    if (group.empty()) continue;
    LogRatio sums;
    for (const LogRatio& response : group) {
      sums.tokens += response.tokens;
      sums.sum += response.sum;
      sums.k3 += response.k3;
    }
    responses.push_back(static_cast<double>(group.size()));
    tokens.push_back(static_cast<double>(sums.tokens));
    k1.push_back(sums.sum);
    k3.push_back(sums.k3);
    ++divergence.groups;
    divergence.responses += static_cast<std::int64_t>(group.size());
    divergence.tokens += sums.tokens;
  }
  divergence.k1_per_response = ratio_estimate(k1, responses);
  divergence.k3_per_response = ratio_estimate(k3, responses);
  divergence.k1_per_token = ratio_estimate(k1, tokens);
  divergence.k3_per_token = ratio_estimate(k3, tokens);
  return divergence;
}

PolicyDivergence measure_policy_divergence(const std::string& policy, const std::string& reference, std::span<const ResponseGroup> groups,
                                           const ScoringOptions& scoring, const CommonOptions& common, Ranks& ranks, Log& log) {
  std::int64_t too_long = 0;
  SequenceGroups sequences(groups.size());
  PolicyTokens encode(policy, reference, scoring);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const ResponseGroup& group = groups[i];
    for (std::size_t place = 0; place < group.responses.size(); ++place) {
      if (auto sequence = encode.sequence(group.prompt, group.responses[place], group.where, group.has_ended(place)))
        sequences[i].push_back(std::move(*sequence));
      else
        ++too_long;
    }
  }
  PolicyDivergence divergence = policy_divergence(log_ratios(policy, reference, std::move(sequences), scoring, common, ranks, log));
  divergence.too_long = too_long;
  if (too_long > 0) log.warn(fmt::format("{} responses left out of the policies' divergence: alone longer than --max-length", too_long));
  return divergence;
}

}  // namespace metarm
