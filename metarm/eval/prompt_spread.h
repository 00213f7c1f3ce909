// Prompt by prompt: how far apart a reward model puts the responses, and what of it was lost since an earlier reward model.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/data/rows.h"

namespace metarm {

// What one reward model makes of the response groups.
struct GroupScores {
  std::vector<std::vector<float>> rewards;                 // a vector a row, one a response; NaN where it was not scored
  double deviation = 0;                                    // the model's reward standard deviation on the pairs, the unit of its spreads
  std::vector<std::vector<float>> member_deviations = {};  // of an ensemble's members, in the shape of rewards; else empty
};

// Mean |r_i − r_j| over the pairs of a prompt's responses that were scored; NaN with fewer than two.
double reward_spread(std::span<const float> rewards);

// Spreads in units of each model's own deviation, so that a mere change of scale is no loss. Over the prompts with a spread in both.
struct SpreadLoss {
  std::int64_t groups = 0;
  double before = std::numeric_limits<double>::quiet_NaN(), after = before, loss = before;  // means; loss: of before − after
  double share_lost = before;                                                               // of prompts with a loss above 0
};
SpreadLoss spread_loss(const GroupScores& before, const GroupScores& after);

// Of outliers.h, a vector a row, one a response; NaN where it was not scored.
struct GroupOutliers {
  std::vector<std::vector<float>> distances, p_values;
};

// A row a group: its own fields with `rewards`, of an ensemble `rewards_std`, `spread`, `scaled_spread` (in units of `reward_deviation`),
// and where there is an earlier model `before_rewards`, `before_scaled_spread` and `spread_loss`; where there is a second one
// `second_rewards` and `tau_b`; where there are outliers `outlier_distances` and `outlier_p_values`. null for what is undefined. The
// largest loss first, without an earlier model the smallest spread; what has neither last; else in the order given.
std::vector<Json> prompt_rows(std::span<const ResponseGroup> groups, const GroupScores& scores,
                              const std::vector<std::vector<float>>* second, const GroupScores* before,
                              const GroupOutliers* outliers = nullptr);

// An earlier scoring of the same response groups, in any order among others: rows of `score` (groups with `rewards`; pairs with
// `chosen_reward` and `rejected_reward`, which give the deviation), or prompt_rows (whose `reward_deviation` does). Input error for a group
// that the files lack, naming it, and for files that say nothing about the deviation.
GroupScores read_group_scores(const std::string& file, std::span<const ResponseGroup> groups);

}  // namespace metarm
