#include "metarm/serve/prefix_groups.h"

#include <algorithm>
#include <numeric>

namespace metarm {

namespace {

std::int64_t length(const TokenIds& tokens) { return static_cast<std::int64_t>(tokens.size()); }

std::int64_t common_prefix(const TokenIds& a, const TokenIds& b) { return std::ranges::mismatch(a, b).in1 - a.begin(); }

std::vector<std::size_t> sorted_order(std::span<const TokenIds* const> sequences) {
  std::vector<std::size_t> order(sequences.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return *sequences[a] < *sequences[b]; });
  return order;
}

// For each number j of sequences in order, where the last run of the best division of the first j begins.
std::vector<std::size_t> best_runs(const std::vector<const TokenIds*>& sorted, std::int64_t tokens_per_batch) {
  const std::size_t count = sorted.size();
  std::vector<std::int64_t> with_previous(count, 0), saved(count + 1, 0);
  for (std::size_t i = 1; i < count; ++i) with_previous[i] = common_prefix(*sorted[i - 1], *sorted[i]);
  std::vector<std::size_t> begins(count + 1, 0);
  for (std::size_t end = 1; end <= count; ++end) {
    saved[end] = saved[end - 1];
    begins[end] = end - 1;
    std::int64_t total = length(*sorted[end - 1]), shared = total - 1;  // a branch keeps its last token
    for (std::size_t begin = end - 1; begin-- > 0;) {
      shared = std::min({shared, with_previous[begin + 1], length(*sorted[begin]) - 1});
      total += length(*sorted[begin]);
      const std::int64_t gain = static_cast<std::int64_t>(end - begin - 1) * shared;
      if (shared == 0 || total - gain > tokens_per_batch) break;
      if (saved[begin] + gain <= saved[end]) continue;
      saved[end] = saved[begin] + gain;
      begins[end] = begin;
    }
  }
  return begins;
}

std::int64_t tree_tokens(std::span<const TokenIds* const> run) {
  std::int64_t total = 0, shared = length(*run.front()) - 1;
  for (const TokenIds* tokens : run) {
    total += length(*tokens);
    shared = std::min({shared, length(*tokens) - 1, common_prefix(*tokens, *run.front())});
  }
  return total - static_cast<std::int64_t>(run.size() - 1) * shared;
}

}  // namespace

std::vector<PrefixGroup> group_by_prefix(std::span<const TokenIds* const> sequences, std::int64_t tokens_per_batch) {
  const std::vector<std::size_t> order = sorted_order(sequences);
  std::vector<const TokenIds*> sorted;
  for (const std::size_t index : order) sorted.push_back(sequences[index]);
  const std::vector<std::size_t> begins = best_runs(sorted, tokens_per_batch);

  std::vector<PrefixGroup> groups;
  for (std::size_t end = order.size(); end > 0; end = begins[end]) {
    PrefixGroup& group = groups.emplace_back();
    group.members.assign(order.begin() + static_cast<std::ptrdiff_t>(begins[end]), order.begin() + static_cast<std::ptrdiff_t>(end));
    group.tokens = tree_tokens(std::span(sorted).subspan(begins[end], end - begins[end]));
    std::ranges::sort(group.members);
  }
  std::ranges::sort(groups, {}, [](const PrefixGroup& group) { return group.members.front(); });
  return groups;
}

}  // namespace metarm
