#include "metarm/model/token_tree.h"

#include <algorithm>

#include "metarm/base/error.h"

namespace metarm {

std::int64_t TokenTree::token_count() const {
  std::size_t count = prompt.size();
  for (const TokenIds& branch : branches) count += branch.size();
  return static_cast<std::int64_t>(count);
}

TokenTree make_token_tree(std::span<const TokenIds> sequences) {
  TokenTree tree;
  std::size_t shared = sequences.size() > 1 ? sequences.front().size() : 0;
  for (const TokenIds& sequence : sequences) {
    if (sequence.empty()) fail_internal("make_token_tree: expected tokens, got an empty sequence");
    const auto differ = std::mismatch(sequence.begin(), sequence.end(), sequences.front().begin(), sequences.front().end());
    shared = std::min({shared, static_cast<std::size_t>(differ.first - sequence.begin()), sequence.size() - 1});
  }
  if (!sequences.empty()) tree.prompt.assign(sequences.front().begin(), sequences.front().begin() + static_cast<std::ptrdiff_t>(shared));
  for (const TokenIds& sequence : sequences)
    tree.branches.emplace_back(sequence.begin() + static_cast<std::ptrdiff_t>(shared), sequence.end());
  return tree;
}

std::vector<TokenTree> make_token_trees(std::span<const std::vector<TokenIds>> groups) {
  std::vector<TokenTree> trees;
  trees.reserve(groups.size());
  for (const std::vector<TokenIds>& group : groups) trees.push_back(make_token_tree(group));
  return trees;
}

namespace {

Segment append_segment(Batch& batch, const TokenIds& tokens, std::int64_t prefix_begin, std::int64_t prefix_end) {
  const std::int64_t begin = batch.token_count();
  std::int64_t position = prefix_end - prefix_begin;
  for (TokenId token : tokens) {
    batch.tokens.push_back(token);
    batch.positions.push_back(position++);
  }
  return batch.segments.emplace_back(Segment{begin, batch.token_count(), prefix_begin, prefix_end});
}

}  // namespace

Batch make_batch(std::span<const TokenTree> trees) {
  Batch batch;
  for (const TokenTree& tree : trees) {
    const std::int64_t begin = batch.token_count();
    if (!tree.prompt.empty()) append_segment(batch, tree.prompt, begin, begin);
    const std::int64_t end = batch.token_count();
    const std::size_t first_row = batch.row_segment.size();
    for (std::size_t i = 0; i < tree.branches.size(); ++i) {
      const auto first_equal = static_cast<std::size_t>(std::ranges::find(tree.branches, tree.branches[i]) - tree.branches.begin());
      if (first_equal == i) append_segment(batch, tree.branches[i], begin, end);
      const std::int64_t newest = static_cast<std::int64_t>(batch.segments.size()) - 1;
      batch.row_segment.push_back(first_equal == i ? newest : batch.row_segment[first_row + first_equal]);
    }
  }
  return batch;
}

std::vector<TreeRange> pack_trees(std::span<const TokenTree> trees, std::int64_t tokens_per_batch) {
  std::vector<TreeRange> ranges;
  std::int64_t used = 0;
  for (std::size_t i = 0; i < trees.size(); ++i) {
    const std::int64_t count = trees[i].token_count();
    if (ranges.empty() || used + count > tokens_per_batch) {
      ranges.push_back({i, i});
      used = 0;
    }
    ranges.back().end = i + 1;
    used += count;
  }
  return ranges;
}

}  // namespace metarm
