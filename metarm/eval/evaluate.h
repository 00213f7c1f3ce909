// Rewards and hidden states of encoded rows, by all ranks together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/eval/statistics.h"
#include "metarm/model/scorer.h"

namespace metarm {

using RowsDone = std::function<void(std::int64_t done)>;

// Scorer::score with the groups divided among ranks by their tokens: all ranks call it and get all rewards. Progress is this rank's, in
// shares of the whole.
GroupRewards score_groups(Ranks& ranks, const Scorer& scorer, std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch,
                          const RowsDone& progress = {});

// One entry a pair, in order; `deviations` as those of GroupRewards, of chosen and rejected.
struct PairScores {
  std::vector<PairRewards> rewards;
  std::vector<std::vector<float>> deviations = {};
};
// Each pair is one token tree. All ranks together, and so below.
PairScores score_pairs(Ranks& ranks, const Scorer& scorer, std::span<const EncodedPair> pairs, std::int64_t tokens_per_batch,
                       const RowsDone& progress = {});
// One vector a group, in order; each group is one token tree.
GroupRewards score_responses(Ranks& ranks, const Scorer& scorer, std::span<const EncodedGroup> groups, std::int64_t tokens_per_batch,
                             const RowsDone& progress = {});
// Over the texts that were scored (NaN: one that was not); nothing where one reward model scored.
std::optional<double> mean_deviation(std::span<const std::vector<float>> deviations);

// model/hidden_states.h with the groups divided among ranks, as score_groups: float32 [B, D] on every rank.
at::Tensor hidden_states(Ranks& ranks, const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups,
                         std::int64_t tokens_per_batch, const RowsDone& progress = {});

// Figures for the rows of each subset; rows without one count under "". `pairs` are indices into `rows`.
std::map<std::string, PairStatistics> statistics_by_subset(std::span<const Pair> rows, std::span<const EncodedPair> pairs,
                                                           std::span<const PairRewards> rewards);

// Numbers of the groups' responses by row and response; NaN for a response that has none.
std::vector<std::vector<float>> values_by_row(std::span<const ResponseGroup> rows, std::span<const EncodedGroup> groups,
                                              std::span<const std::vector<float>> values);

}  // namespace metarm
