#include "metarm/report/series.h"

#include <algorithm>
#include <numeric>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// Appends the first, lowest, highest and last of the values at [begin, end), each once and in order.
void append_extremes(const Series& series, std::size_t begin, std::size_t end, Series& to) {
  const auto first = series.values.begin();
  const auto [low, high] = std::minmax_element(first + static_cast<std::ptrdiff_t>(begin), first + static_cast<std::ptrdiff_t>(end));
  std::size_t kept[] = {begin, static_cast<std::size_t>(low - first), static_cast<std::size_t>(high - first), end - 1};
  std::ranges::sort(kept);
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0 && kept[i] == kept[i - 1]) continue;
    to.steps.push_back(series.steps[kept[i]]);
    to.values.push_back(series.values[kept[i]]);
  }
}

}  // namespace

Series thin(const Series& series, std::size_t points) {
  if (points < 4) fail_internal("thin: expected at least 4 points, got {}", points);
  if (series.values.size() <= points) return series;
  const double start = static_cast<double>(series.steps.front()), length = static_cast<double>(series.steps.back()) - start;
  const std::size_t ranges = points / 4;
  Series thinned;
  std::size_t begin = 0;
  for (std::size_t range = 1; range <= ranges; ++range) {
    std::size_t end = series.steps.size();
    if (range < ranges) {
      const double limit = start + length * static_cast<double>(range) / static_cast<double>(ranges);
      const auto from = series.steps.begin() + static_cast<std::ptrdiff_t>(begin);
      end = static_cast<std::size_t>(std::lower_bound(from, series.steps.end(), limit) - series.steps.begin());
    }
    if (begin < end) append_extremes(series, begin, end, thinned);
    begin = end;
  }
  return thinned;
}

Series block_means(const Series& series, std::size_t blocks) {
  const std::size_t count = series.values.size();
  if (blocks == 0 || blocks > count) fail_internal("block_means: expected 1 to {} blocks, got {}", count, blocks);
  Series means;
  for (std::size_t block = 0; block < blocks; ++block) {
    const std::size_t begin = block * count / blocks, end = (block + 1) * count / blocks;
    const auto first = series.values.begin();
    const double sum = std::accumulate(first + static_cast<std::ptrdiff_t>(begin), first + static_cast<std::ptrdiff_t>(end), 0.0);
    means.steps.push_back(series.steps[begin + (end - begin - 1) / 2]);
    means.values.push_back(sum / static_cast<double>(end - begin));
  }
  return means;
}

}  // namespace metarm
