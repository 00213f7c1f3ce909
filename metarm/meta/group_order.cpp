#include "metarm/meta/group_order.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "metarm/base/random.h"

namespace metarm {

GroupOrder::GroupOrder(std::span<const std::string> modes, std::vector<double> weights, bool mode_a_step, std::uint64_t seed, bool shuffle)
    : mode_a_step_(mode_a_step), seed_(seed) {
  std::map<std::string, std::vector<std::int64_t>> by_mode;
  for (std::size_t i = 0; i < modes.size(); ++i) by_mode[modes[i]].push_back(static_cast<std::int64_t>(i));
  for (auto& [name, groups] : by_mode) {
    std::vector<double> sums;
    double sum = 0;
    if (!weights.empty())
      for (const std::int64_t group : groups) sums.push_back(sum += weights[static_cast<std::size_t>(group)]);
    const auto size = static_cast<std::int64_t>(groups.size());
    names_.push_back(name);
    modes_.push_back(
        {std::move(groups), std::move(sums), DataOrder(size, seed, by_mode.size() == 1 ? "groups" : "groups " + name, shuffle)});
  }
}

std::int64_t GroupOrder::drawn(const Mode& mode, std::uint64_t seed, std::int64_t slot, std::span<const std::int64_t> taken) {
  constexpr std::uint64_t kTries = 64;
  std::int64_t group = 0;
  for (std::uint64_t attempt = 0; attempt < kTries; ++attempt) {
    const double u = RandomStream(seed, "group draws", static_cast<std::uint64_t>(slot), attempt).uniform() * mode.sums.back();
    const auto place = std::min<std::ptrdiff_t>(std::ranges::upper_bound(mode.sums, u) - mode.sums.begin(), std::ssize(mode.sums) - 1);
    group = mode.groups[static_cast<std::size_t>(place)];
    if (std::ranges::find(taken, group) == taken.end()) break;
  }
  return group;
}

std::vector<std::int64_t> GroupOrder::batch(std::int64_t step, std::int64_t count) {
  std::vector<std::int64_t> taken;
  const auto modes = static_cast<std::int64_t>(modes_.size());
  const auto take = [&](Mode& mode, std::int64_t slot, std::int64_t of_mode) {
    if (mode.sums.empty())
      taken.push_back(mode.groups[static_cast<std::size_t>(mode.order.stream(of_mode, 1).front())]);
    else
      taken.push_back(drawn(mode, seed_, slot, taken));
  };
  if (mode_a_step_ && modes > 0) {
    Mode& mode = modes_[mode_of_step(step)];
    const std::int64_t own = std::min(count, std::ssize(mode.groups));
    for (std::int64_t i = 0; i < own; ++i) take(mode, step * count + i, step / modes * own + i);
  } else {
    for (std::int64_t slot = step * count; slot < (step + 1) * count; ++slot)
      take(modes_[static_cast<std::size_t>(slot % modes)], slot, slot / modes);
  }
  return taken;
}

std::vector<double> recency_weights(std::span<const std::int64_t> rounds, double half_life) {
  const std::int64_t newest = *std::ranges::max_element(rounds);
  std::vector<double> weights;
  for (const std::int64_t round : rounds) weights.push_back(std::exp2(-static_cast<double>(newest - round) / half_life));
  return weights;
}

}  // namespace metarm
