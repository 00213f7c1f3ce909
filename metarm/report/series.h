// A figure over the steps of a run, and less of it where a page cannot hold or show all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metarm {

struct Series {
  std::vector<std::int64_t> steps;  // ascending
  std::vector<double> values;       // one a step
};

// A series of more than `points` values (at least 4) cut down to at most so many: of each of points / 4 equal ranges of steps the first,
// the last, the lowest and the highest value, so that a line through them looks the same as one through all at that many pixels (Jugel et
// al., "M4", VLDB 2014). A shorter series is returned as it is. Every value that is left was in the series.
Series thin(const Series& series, std::size_t points);

// Means of `blocks` stretches of consecutive values, whose lengths differ by one at most; each stands at its stretch's middle step.
// 0 < blocks <= number of values.
Series block_means(const Series& series, std::size_t blocks);

}  // namespace metarm
