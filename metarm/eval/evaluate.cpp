#include "metarm/eval/evaluate.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "metarm/model/hidden_states.h"

namespace metarm {

namespace {

// All groups' numbers on every rank, given those of the groups at `own`, which no other rank has: the others add 0, so that a sum is exact.
std::vector<std::vector<float>> share(Ranks& ranks, std::span<const std::vector<TokenIds>> groups, std::span<const std::int64_t> own,
                                      const std::vector<std::vector<float>>& of_own) {
  std::vector<std::size_t> begins;
  std::size_t count = 0;
  for (const std::vector<TokenIds>& group : groups) {
    begins.push_back(count);
    count += group.size();
  }
  std::vector<double> all(count, 0.0);
  for (std::size_t i = 0; i < own.size(); ++i)
    std::ranges::copy(of_own[i], all.begin() + static_cast<std::ptrdiff_t>(begins[static_cast<std::size_t>(own[i])]));
  ranks.sum(all);
  std::vector<std::vector<float>> shared(groups.size());
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (std::size_t j = 0; j < groups[i].size(); ++j) shared[i].push_back(static_cast<float>(all[begins[i] + j]));
  return shared;
}

// The groups that this rank takes, by their tokens.
struct OwnGroups {
  std::vector<std::int64_t> places;
  std::vector<std::vector<TokenIds>> groups;
};

OwnGroups own_groups(const Ranks& ranks, std::span<const std::vector<TokenIds>> groups) {
  std::vector<std::int64_t> costs;
  for (const std::vector<TokenIds>& group : groups) {
    std::int64_t tokens = 0;
    for (const TokenIds& sequence : group) tokens += static_cast<std::int64_t>(sequence.size());
    costs.push_back(tokens);
  }
  OwnGroups own{rows_of_rank(costs, ranks.rank(), ranks.size()), {}};
  for (const std::int64_t place : own.places) own.groups.push_back(groups[static_cast<std::size_t>(place)]);
  return own;
}

// `progress` in groups of all ranks, as far as this one has come with its own.
RowsDone of_all(const RowsDone& progress, std::size_t all, std::size_t own) {
  return [=](std::int64_t done) {
    if (progress) progress(done * static_cast<std::int64_t>(all) / static_cast<std::int64_t>(own));
  };
}

}  // namespace

GroupRewards score_groups(Ranks& ranks, const Scorer& scorer, std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch,
                          const RowsDone& progress) {
  if (ranks.size() == 1) return scorer.score(groups, tokens_per_batch, progress);
  const OwnGroups own = own_groups(ranks, groups);
  const GroupRewards scored = scorer.score(own.groups, tokens_per_batch, of_all(progress, groups.size(), own.groups.size()));
  GroupRewards all{share(ranks, groups, own.places, scored.rewards)};
  if (scorer.is_ensemble()) all.deviations = share(ranks, groups, own.places, scored.deviations);
  return all;
}

PairScores score_pairs(Ranks& ranks, const Scorer& scorer, std::span<const EncodedPair> pairs, std::int64_t tokens_per_batch,
                       const RowsDone& progress) {
  std::vector<std::vector<TokenIds>> groups;
  groups.reserve(pairs.size());
  for (const EncodedPair& pair : pairs) groups.push_back({pair.chosen, pair.rejected});
  GroupRewards scored = score_groups(ranks, scorer, groups, tokens_per_batch, progress);
  PairScores scores{{}, std::move(scored.deviations)};
  for (const std::vector<float>& reward : scored.rewards) scores.rewards.push_back({reward[0], reward[1]});
  return scores;
}

GroupRewards score_responses(Ranks& ranks, const Scorer& scorer, std::span<const EncodedGroup> groups, std::int64_t tokens_per_batch,
                             const RowsDone& progress) {
  std::vector<std::vector<TokenIds>> responses;
  responses.reserve(groups.size());
  for (const EncodedGroup& group : groups) responses.push_back(group.responses);
  return score_groups(ranks, scorer, responses, tokens_per_batch, progress);
}

std::optional<double> mean_deviation(std::span<const std::vector<float>> deviations) {
  double sum = 0, texts = 0;
  for (const std::vector<float>& group : deviations) {
    for (const float deviation : group) {
      if (std::isnan(deviation)) continue;
      sum += deviation;
      ++texts;
    }
  }
  return texts > 0 ? std::optional(sum / texts) : std::nullopt;
}

at::Tensor hidden_states(Ranks& ranks, const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups,
                         std::int64_t tokens_per_batch, const RowsDone& progress) {
  if (ranks.size() == 1) return hidden_states(reward_model, groups, tokens_per_batch, progress);
  const OwnGroups own = own_groups(ranks, groups);
  std::vector<std::int64_t> first_row{0};
  for (const std::vector<TokenIds>& group : groups) first_row.push_back(first_row.back() + static_cast<std::int64_t>(group.size()));
  at::Tensor all_BD = at::zeros({first_row.back(), reward_model.model.spec.width}, at::kDouble);
  if (!own.groups.empty()) {
    const at::Tensor own_BD = hidden_states(reward_model, own.groups, tokens_per_batch, of_all(progress, groups.size(), own.groups.size()));
    std::int64_t row = 0;
    for (const std::int64_t place : own.places) {
      const std::int64_t begin = first_row[static_cast<std::size_t>(place)], count = first_row[static_cast<std::size_t>(place) + 1] - begin;
      all_BD.narrow(0, begin, count).copy_(own_BD.narrow(0, row, count));
      row += count;
    }
  }
  ranks.sum(std::span(all_BD.mutable_data_ptr<double>(), static_cast<std::size_t>(all_BD.numel())));
  return all_BD.to(at::kFloat);
}

std::map<std::string, PairStatistics> statistics_by_subset(std::span<const Pair> rows, std::span<const EncodedPair> pairs,
                                                           std::span<const PairRewards> rewards) {
  std::map<std::string, std::vector<PairRewards>> by_subset;
  for (std::size_t i = 0; i < pairs.size(); ++i) by_subset[rows[static_cast<std::size_t>(pairs[i].row)].subset].push_back(rewards[i]);
  std::map<std::string, PairStatistics> statistics;
  for (const auto& [subset, subset_rewards] : by_subset) statistics.emplace(subset, pair_statistics(subset_rewards));
  return statistics;
}

std::vector<std::vector<float>> values_by_row(std::span<const ResponseGroup> rows, std::span<const EncodedGroup> groups,
                                              std::span<const std::vector<float>> values) {
  std::vector<std::vector<float>> by_row;
  for (const ResponseGroup& row : rows) by_row.emplace_back(row.responses.size(), std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (std::size_t j = 0; j < values[i].size(); ++j)
      by_row[static_cast<std::size_t>(groups[i].row)][static_cast<std::size_t>(groups[i].places[j])] = values[i][j];
  return by_row;
}

}  // namespace metarm
