// Which of the given response groups, and which of their responses, are worth a meta step. Groups have two responses or more.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metarm/data/rows.h"

namespace metarm {

struct DroppedDuplicates {
  std::size_t responses = 0;
  std::size_t groups = 0;  // those that were left with fewer than two responses
};
// Leaves out responses whose resemblance to a kept one of their group is above `max_overlap` (data/near_duplicates.h, shingles of three
// words), and then groups of fewer than two.
DroppedDuplicates drop_near_duplicates(std::vector<ResponseGroup>& groups, double max_overlap);

// The share (0 to 1] of each mode's groups, rounded up, whose responses the reward model tells apart least: by the mean absolute reward
// difference of two of them. Indices, ascending. rewards[i]: those of group i, two or more.
std::vector<std::int64_t> hardest_groups(std::span<const std::vector<float>> rewards, std::span<const std::string> modes, double share);

}  // namespace metarm
