// The held-out rows that the guard judges a new version by, scored by it and by the one that is served.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/serve/reward_server.h"
#include "metarm/shift/guard.h"

namespace metarm {

// Pairs and groups as texts to score: chosen and rejected of each pair, then the responses of each group.
std::vector<ScoreItem> items_of(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups);

// Rows that all can score: pairs of which both texts, groups of which two responses are short enough. `first`: rewards of the pairs by
// version 1, may be empty. Computed between the requests of clients; io error where `stop` says so.
GuardMeasures measure_held_out(RewardServer& server, const std::shared_ptr<const ModelVersion>& served,
                               const std::shared_ptr<const ModelVersion>& candidate, const std::vector<std::optional<float>>& first,
                               const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups, const std::function<bool()>& stop);

}  // namespace metarm
