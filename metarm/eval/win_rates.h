// How often one policy's responses win, tie and lose against another's, as the papers on preference alignment print it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/eval/statistics.h"

namespace metarm {

enum class Outcome { win, tie, lose };  // of the first policy
const char* outcome_name(Outcome outcome);

struct Share {
  double value = 0;
  Interval interval{};
};

// Each prompt counts once: its share of an outcome is that of its comparisons, and the figure is the mean over prompts.
struct WinRates {
  std::int64_t prompts = 0, comparisons = 0;
  Share win, tie, lose;
  Share net;  // win - lose: above 0 with its whole interval where the first policy is better beyond chance
};

// Intervals: 95 %, percentiles of `resamples` bootstrap samples, in each of which as many prompts are drawn with replacement. A function of
// the outcomes, the seed and `resamples`. `by_prompt`: the outcomes of each prompt's comparisons, none empty.
WinRates win_rates(std::span<const std::vector<Outcome>> by_prompt, std::uint64_t seed, std::int64_t resamples);

// win, tie and lose in whole percent that add up to 100: those with the largest remainders are rounded up.
std::array<int, 3> whole_percents(const WinRates& rates);

Json to_json(const WinRates& rates);
// A table, a row each: name, win/tie/lose, each share with its interval in percent, number of prompts.
std::string to_table(const std::vector<std::pair<std::string, WinRates>>& rows);

}  // namespace metarm
