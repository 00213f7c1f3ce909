#include "metarm/meta/importance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

Json ImportanceWeights::figures(std::span<const std::int64_t> rows) const {
  double sum = 0;
  for (const std::int64_t row : rows) sum += of_pairs[static_cast<std::size_t>(row)];
  return {{"importance", sum / static_cast<double>(rows.size())},
          {"importance_effective_share", effective_share},
          {"importance_min", min},
          {"importance_max", max}};
}

ImportanceWeights importance_weights(std::span<const double> log_ratios, double temperature) {
  const double largest = *std::ranges::max_element(log_ratios);
  ImportanceWeights weights;
  double sum = 0;
  // The factor exp(-τ max s), which the mean takes out again, keeps them finite.
  for (const double log_ratio : log_ratios) sum += weights.of_pairs.emplace_back(std::exp(temperature * (log_ratio - largest)));
  const auto count = static_cast<double>(log_ratios.size());
  double squares = 0;
  for (double& weight : weights.of_pairs) {
    weight *= count / sum;
    squares += weight * weight;
  }
  weights.effective_share = count / squares;
  const auto [min, max] = std::ranges::minmax(weights.of_pairs);
  weights.min = min;
  weights.max = max;
  return weights;
}

SequenceGroups encode_for_policies(const AlignOptions& options, const std::vector<Pair>& rows, std::vector<EncodedPair>& pairs, Log& log) {
  PolicyTokens encode(options.policy, options.reference_policy, options.scoring);
  SequenceGroups sequences;
  std::vector<EncodedPair> kept;
  for (EncodedPair& pair : pairs) {
    const Pair& row = rows[static_cast<std::size_t>(pair.row)];
    std::optional<ResponseSequence> chosen = encode.sequence(row.prompt, row.chosen, row.where),
                                    rejected = encode.sequence(row.prompt, row.rejected, row.where);
    if (!chosen || !rejected) continue;
    sequences.push_back({std::move(*chosen), std::move(*rejected)});
    kept.push_back(std::move(pair));
  }
  if (kept.empty())
    fail_input("--pairs: expected pairs that fit in --max-length {} by --policy's tokenizer, got none of {}", options.scoring.max_length,
               pairs.size());
  if (kept.size() < pairs.size())
    log.info(
        fmt::format("{} pairs left out: by --policy's tokenizer a response alone is longer than --max-length", pairs.size() - kept.size()));
  pairs = std::move(kept);
  return sequences;
}

ImportanceWeights weigh_pairs(const AlignOptions& options, SequenceGroups sequences, std::vector<EncodedPair>& pairs, Ranks& ranks,
                              Log& log) {
  std::vector<double> sums;
  for (const std::vector<LogRatio>& pair :
       log_ratios(options.policy, options.reference_policy, std::move(sequences), options.scoring, options.common, ranks, log))
    sums.push_back(pair[0].sum + pair[1].sum);
  ImportanceWeights weights = importance_weights(sums, options.importance_temperature);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].weight *= weights.of_pairs[i];
  log.info(fmt::format("importance weights of {} pairs: from {:.3g} to {:.3g}, an effective sample of {:.1f} % of them", pairs.size(),
                       weights.min, weights.max, 100 * weights.effective_share));
  return weights;
}

}  // namespace metarm
