#include "metarm/meta/group_choice.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "metarm/data/near_duplicates.h"

namespace metarm {

namespace {

constexpr std::int64_t kShingleWords = 3;

std::size_t drop_from(ResponseGroup& group, double max_overlap) {
  NearDuplicates near_duplicates(max_overlap, kShingleWords);
  std::vector<std::size_t> kept;
  for (std::size_t i = 0; i < group.responses.size(); ++i)
    if (!near_duplicates.is_one(group.prompt, group.responses[i])) kept.push_back(i);
  const std::size_t dropped = group.responses.size() - kept.size();
  if (dropped > 0) keep_responses(group, kept);
  return dropped;
}

double mean_difference(std::span<const float> rewards) {
  double sum = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) sum += std::abs(static_cast<double>(rewards[i]) - rewards[j]);
  return sum * 2 / static_cast<double>(rewards.size() * (rewards.size() - 1));
}

}  // namespace

DroppedDuplicates drop_near_duplicates(std::vector<ResponseGroup>& groups, double max_overlap) {
  DroppedDuplicates dropped;
  for (ResponseGroup& group : groups) dropped.responses += drop_from(group, max_overlap);
  dropped.groups = std::erase_if(groups, [](const ResponseGroup& group) { return group.responses.size() < 2; });
  return dropped;
}

std::vector<std::int64_t> hardest_groups(std::span<const std::vector<float>> rewards, std::span<const std::string> modes, double share) {
  std::map<std::string, std::vector<std::pair<double, std::int64_t>>> by_mode;
  for (std::size_t i = 0; i < rewards.size(); ++i)
    by_mode[modes[i]].emplace_back(mean_difference(rewards[i]), static_cast<std::int64_t>(i));
  std::vector<std::int64_t> chosen;
  for (auto& [mode, groups] : by_mode) {
    std::ranges::sort(groups);
    const auto count = static_cast<std::size_t>(std::ceil(share * static_cast<double>(groups.size())));
    for (std::size_t i = 0; i < std::min(count, groups.size()); ++i) chosen.push_back(groups[i].second);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace metarm
