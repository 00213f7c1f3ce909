#include "metarm/explain/reward_change.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

namespace metarm {

RewardScale reward_scale(std::span<const std::vector<float>> rewards) {
  double count = 0, sum = 0, squares = 0;
  for (const std::vector<float>& row : rewards) {
    count += static_cast<double>(row.size());
    sum = std::accumulate(row.begin(), row.end(), sum);
  }
  RewardScale scale{count > 0 ? sum / count : 0, 0};
  for (const std::vector<float>& row : rewards)
    for (const float reward : row) squares += (reward - scale.mean) * (reward - scale.mean);
  scale.deviation = count > 0 ? std::sqrt(squares / count) : 0;
  return scale;
}

RowChange row_change(std::span<const float> before, std::span<const float> after, const RewardScale& scale_before,
                     const RewardScale& scale_after) {
  RowChange change;
  for (std::size_t i = 0; i < before.size(); ++i) {
    for (std::size_t j = i + 1; j < before.size(); ++j) {
      const double earlier = (static_cast<double>(before[i]) - before[j]) / scale_before.deviation;
      const double later = (static_cast<double>(after[i]) - after[j]) / scale_after.deviation;
      ++change.differences;
      change.flips += earlier * later < 0;
      if (std::abs(later - earlier) > std::abs(change.difference)) change.difference = later - earlier;
    }
  }
  return change;
}

std::vector<std::size_t> order_by_change(std::span<const RowChange> changes) {
  std::vector<std::size_t> order(changes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater<>(),
                           [&](std::size_t row) { return std::pair(changes[row].flips > 0, std::abs(changes[row].difference)); });
  return order;
}

}  // namespace metarm
