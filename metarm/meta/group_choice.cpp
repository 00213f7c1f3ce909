#include "metarm/meta/group_choice.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "metarm/data/near_duplicates.h"

namespace metarm {

namespace {

constexpr std::int64_t kShingleWords = 3;

// A row's rewards stay with their responses.
std::int64_t drop_from(ResponseGroup& group, double max_overlap) {
  NearDuplicates near_duplicates(max_overlap, kShingleWords);
  ResponseGroup kept = group;
  kept.responses.clear();
  kept.rewards.clear();
  for (std::size_t i = 0; i < group.responses.size(); ++i) {
    if (near_duplicates.is_one(group.prompt, group.responses[i])) continue;
    kept.responses.push_back(std::move(group.responses[i]));
    if (!group.rewards.empty()) kept.rewards.push_back(group.rewards[i]);
  }
  const std::size_t before = group.responses.size();
  group = std::move(kept);
  return static_cast<std::int64_t>(before - group.responses.size());
}

double mean_difference(std::span<const float> rewards) {
  double sum = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) sum += std::abs(static_cast<double>(rewards[i]) - rewards[j]);
  return sum * 2 / static_cast<double>(rewards.size() * (rewards.size() - 1));
}

}  // namespace

std::int64_t drop_near_duplicates(std::vector<ResponseGroup>& groups, double max_overlap) {
  std::int64_t dropped = 0;
  for (ResponseGroup& group : groups) dropped += drop_from(group, max_overlap);
  std::erase_if(groups, [](const ResponseGroup& group) { return group.responses.size() < 2; });
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
