// Which of the given response groups, and which of their responses, are worth a meta step.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metarm/data/encode.h"

namespace metarm {

// Leaves out responses that say nearly what another one of their group says: those of whose token trigrams more than `share` (0 to 1) are
// among a kept response's, counted over the union of both (Jaccard). Trigrams are of the tokens after what all responses begin with. The
// first of two alike is kept; groups that are left with fewer than two responses go. Returns how many responses went.
std::int64_t drop_near_duplicates(std::vector<EncodedGroup>& groups, double share);

// The share (0 to 1] of each mode's groups, rounded up, whose responses the reward model tells apart least: by the mean absolute reward
// difference of two of them. Indices, ascending. rewards[i]: those of group i, two or more.
std::vector<std::int64_t> hardest_groups(std::span<const std::vector<float>> rewards, std::span<const std::string> modes, double share);

}  // namespace metarm
