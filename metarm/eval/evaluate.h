// A reward model's figures on encoded rows.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/eval/statistics.h"
#include "metarm/model/reward_model.h"

namespace metarm {

using RowsDone = std::function<void(std::int64_t done)>;

// score_groups (model/reward_model.h) with the groups divided among ranks by their tokens: all ranks call it and get all rewards. Progress
// is this rank's, in shares of the whole.
std::vector<std::vector<float>> score_groups(Ranks& ranks, const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups,
                                             std::int64_t tokens_per_batch, const RowsDone& progress = {});

// One entry a pair, in order; each pair is one token tree. All ranks together, and so below.
std::vector<PairRewards> score_pairs(Ranks& ranks, const RewardModel& reward_model, std::span<const EncodedPair> pairs,
                                     std::int64_t tokens_per_batch, const RowsDone& progress = {});
// One vector a group, in order; each group is one token tree.
std::vector<std::vector<float>> score_responses(Ranks& ranks, const RewardModel& reward_model, std::span<const EncodedGroup> groups,
                                                std::int64_t tokens_per_batch, const RowsDone& progress = {});

// Figures for the rows of each subset; rows without one count under "". `pairs` are indices into `rows`.
std::map<std::string, PairStatistics> statistics_by_subset(std::span<const Pair> rows, std::span<const EncodedPair> pairs,
                                                           std::span<const PairRewards> rewards);

Json to_json(const PairStatistics& statistics);
Json to_json(const DifferenceStatistics& statistics);
// Lines for people: "accuracy  0.657 [0.601, 0.708] of 300 pairs" and so on.
std::string to_text(const PairStatistics& statistics);
std::string to_text(const DifferenceStatistics& statistics);

}  // namespace metarm
