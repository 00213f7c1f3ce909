// What a row says once it is explained. docs/methods/explain.md lists the fields.
#pragma once

#include <span>
#include <vector>

#include "metarm/explain/explain_rows.h"
#include "metarm/explain/influence.h"
#include "metarm/explain/reward_change.h"
#include "metarm/explain/token_pieces.h"
#include "metarm/model/attribution.h"

namespace metarm {

// What one model makes of a row.
struct RowRewards {
  std::span<const float> rewards;         // one a sequence
  std::vector<Attribution> attributions;  // the same, or none
  RewardScale scale;
};

// `rewards` and `attributions` of a group; of a pair chosen_reward, rejected_reward, reward_difference, and chosen_attribution,
// rejected_attribution, difference_attribution.
Json rewards_json(const ExplainRow& row, const RowRewards& model, std::span<const TokenPieces> pieces);

// `before` and `after` with the scaled rewards, the change and what is flipped, and `values` with each token's change where both models
// have attributions.
Json change_json(const ExplainRow& row, const RowRewards& before, const RowRewards& after);

// `up` and `down`, lists of training pairs.
Json influence_json(const Influences& influences, const std::vector<ExplainRow>& training);

}  // namespace metarm
