#include "metarm/meta/group_order.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <numeric>
#include <utility>

#include "metarm/base/random.h"

namespace metarm {

GroupOrder::GroupOrder(std::span<const std::string> modes, std::vector<double> weights, bool mode_a_step, std::uint64_t seed, bool shuffle)
    : mode_a_step_(mode_a_step), seed_(seed), weights_(std::move(weights)) {
  std::map<std::string, std::vector<std::int64_t>> by_mode;
  for (std::size_t i = 0; i < modes.size(); ++i) by_mode[modes[i]].push_back(static_cast<std::int64_t>(i));
  for (auto& [name, groups] : by_mode) {
    const auto size = static_cast<std::int64_t>(groups.size());
    names_.push_back(name);
    modes_.push_back({std::move(groups), DataOrder(size, seed, by_mode.size() == 1 ? "groups" : "groups " + name, shuffle)});
  }
}

// Of the mode's groups that the step has not taken, or where it has taken them all, of all.
std::int64_t GroupOrder::drawn(const Mode& mode, std::int64_t slot, const std::set<std::int64_t>& taken) const {
  std::vector<std::int64_t> left;
  std::ranges::set_difference(mode.groups, taken, std::back_inserter(left));
  if (left.empty()) left = mode.groups;
  std::vector<double> sums;
  double sum = 0;
  for (const std::int64_t group : left) sums.push_back(sum += weights_[static_cast<std::size_t>(group)]);
  if (sum == 0) std::iota(sums.begin(), sums.end(), 1.0);
  const double u = RandomStream(seed_, "group draws", static_cast<std::uint64_t>(slot)).uniform() * sums.back();
  // However u is rounded, no group after the last one that has a weight.
  const auto place = std::min(std::ranges::upper_bound(sums, u), std::ranges::lower_bound(sums, sums.back()));
  return left[static_cast<std::size_t>(place - sums.begin())];
}

std::vector<std::int64_t> GroupOrder::batch(std::int64_t step, std::int64_t count) {
  std::vector<std::int64_t> groups;
  std::set<std::int64_t> taken;
  const auto modes = static_cast<std::int64_t>(modes_.size());
  const auto take = [&](Mode& mode, std::int64_t slot, std::int64_t of_mode) {
    groups.push_back(weights_.empty() ? mode.groups[static_cast<std::size_t>(mode.order.stream(of_mode, 1).front())]
                                      : drawn(mode, slot, taken));
    taken.insert(groups.back());
  };
  if (mode_a_step_ && modes > 0) {
    Mode& mode = modes_[mode_of_step(step)];
    const std::int64_t own = std::min(count, std::ssize(mode.groups));
    for (std::int64_t i = 0; i < own; ++i) take(mode, step * count + i, step / modes * own + i);
  } else {
    for (std::int64_t slot = step * count; slot < (step + 1) * count; ++slot)
      take(modes_[static_cast<std::size_t>(slot % modes)], slot, slot / modes);
  }
  return groups;
}

std::vector<double> recency_weights(std::span<const std::int64_t> rounds, double half_life) {
  const std::int64_t newest = *std::ranges::max_element(rounds);
  std::vector<double> weights;
  for (const std::int64_t round : rounds) weights.push_back(std::exp2(-static_cast<double>(newest - round) / half_life));
  return weights;
}

}  // namespace metarm
