// Which of the given response groups, and which of their responses, are worth a meta step. Groups have two responses or more.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metarm/data/rows.h"

namespace metarm {

// Leaves out responses whose resemblance to a kept one of their group is above `max_overlap` (data/near_duplicates.h, shingles of three
// words). Groups that are left with fewer than two go. Returns how many responses went.
std::int64_t drop_near_duplicates(std::vector<ResponseGroup>& groups, double max_overlap);

// The share (0 to 1] of each mode's groups, rounded up, whose responses the reward model tells apart least: by the mean absolute reward
// difference of two of them. Indices, ascending. rewards[i]: those of group i, two or more.
std::vector<std::int64_t> hardest_groups(std::span<const std::vector<float>> rewards, std::span<const std::string> modes, double share);

}  // namespace metarm
