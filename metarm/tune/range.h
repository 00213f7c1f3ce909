// The options that a tuning varies, and where in their ranges its trials lie.
//
//   [[range]]
//   option = "meta_lr"
//   low = 1e-3
//   high = 0.3
//   scale = "log"                    equal factors are equally likely; without it equal steps are
//
//   [[range]]
//   option = "optimizer"
//   choices = ["adamw", "sgd"]       texts; numbers in quotes too
//
// Low and high that are whole numbers give whole numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/config_file.h"
#include "metarm/base/options.h"

namespace metarm {

struct Range {
  std::string option;  // with underscores
  std::string where;   // file:line of its heading
  double low = 0, high = 0;
  bool log = false;
  bool whole = false;
  std::vector<ConfigValue> choices;  // where there are some, instead of low and high
};

// Input errors, with file and line, for what is no range.
std::vector<Range> read_ranges(const std::vector<ConfigTable>& tables);

// As the option takes it: choices of its type, whole numbers where it wants them. Input error for a range that it cannot take.
void fit_range(Range& range, const Field& field);

// One value a range.
using TrialValues = std::vector<ConfigValue>;

// A Latin hypercube (McKay, Beckman and Conover, Technometrics 21, 1979): each range is cut in as many equal parts as there are trials,
// each part is one trial's, in an order of the option's own. So each option alone is covered evenly, and no two options go together but by
// chance. A function of seed, option and trial. Numbers have four significant digits, or are whole.
std::vector<TrialValues> draw_trials(const std::vector<Range>& ranges, std::int64_t trials, std::uint64_t seed);

std::string value_text(const ConfigValue& value);
bool is_ordered(const Range& range);  // numbers, not choices

}  // namespace metarm
