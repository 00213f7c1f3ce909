// How the rewards of the same responses differ between two reward models, in units of each model's own deviation, so that a mere change of
// scale or of the rewards' zero shows as none. Pure functions of rewards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace metarm {

struct RewardScale {
  double mean = 0, deviation = 0;
  double scaled(double reward) const { return (reward - mean) / deviation; }
};
// Of all rewards of all rows: mean and population standard deviation.
RewardScale reward_scale(std::span<const std::vector<float>> rewards);

struct RowChange {
  double difference = 0;         // the largest change, in size, of a scaled reward difference between two of the row's responses
  std::int64_t differences = 0;  // pairs of its responses
  std::int64_t flips = 0;        // of them, those that the two models order the other way round
};
RowChange row_change(std::span<const float> before, std::span<const float> after, const RewardScale& scale_before,
                     const RewardScale& scale_after);

// Indices of rows: those with a flip first, then by the change, the largest first.
std::vector<std::size_t> order_by_change(std::span<const RowChange> changes);

}  // namespace metarm
