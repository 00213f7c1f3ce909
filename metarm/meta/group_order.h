// Which response groups a meta step takes: a function of (seed, step), so that a resumed run goes on with the same ones.
//
// Shifted responses come in modes (domains, policies, rounds), and a large one must not crowd out the others: the slots of all steps, laid
// end to end, are given to the modes in turn, and each mode has an order of its own. Without weights that is one epoch after another; with
// weights each slot is a draw in proportion to them, of the groups that the step has not taken while the mode has any.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "metarm/train/data_order.h"

namespace metarm {

class GroupOrder {
 public:
  // modes[i]: the mode of group i. weights: empty, or one a group, at least 0; where all that are left to draw from have 0, they are
  // drawn alike. mode_a_step: a step's slots are all of one mode, the modes taking turns by step.
  GroupOrder(std::span<const std::string> modes, std::vector<double> weights, bool mode_a_step, std::uint64_t seed, bool shuffle);

  // `count` of the groups' indices for step `step` (from 0); with mode_a_step no more than the step's mode has.
  std::vector<std::int64_t> batch(std::int64_t step, std::int64_t count);
  // Names, in order; no groups: none.
  const std::vector<std::string>& mode_names() const { return names_; }
  std::size_t mode_of_step(std::int64_t step) const { return static_cast<std::size_t>(step) % modes_.size(); }  // with mode_a_step

 private:
  struct Mode {
    std::vector<std::int64_t> groups;  // ascending
    DataOrder order;
  };
  std::int64_t drawn(const Mode& mode, std::int64_t slot, const std::set<std::int64_t>& taken) const;

  bool mode_a_step_;
  std::uint64_t seed_;
  std::vector<double> weights_;
  std::vector<std::string> names_;
  std::vector<Mode> modes_;
};

// 2^(-age / half_life) for ages counted in rounds from the newest one.
std::vector<double> recency_weights(std::span<const std::int64_t> rounds, double half_life);

}  // namespace metarm
