// Token trees, the unit of computation: a prompt's tokens once, then each continuation as a branch that sees the prompt and itself only.
// Trees are packed one after another into a flat batch; there is no padding anywhere. Positions count along the path from the tree's first
// token.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/text/tokenizer.h"

namespace metarm {

struct TokenTree {
  TokenIds prompt;                 // may be empty
  std::vector<TokenIds> branches;  // none of them empty
  std::int64_t token_count() const;
};

// The tree of sequences (none empty): its prompt is their longest common prefix, less the last token of a sequence that
// would end inside it, so that each branch holds its own end. A single sequence is one branch without a prompt.
TokenTree make_token_tree(std::span<const TokenIds> sequences);
std::vector<TokenTree> make_token_trees(std::span<const std::vector<TokenIds>> groups);  // one a group

// A run of tokens that attend causally to one another and wholly to the prefix [prefix_begin, prefix_end) before them. A prompt has no
// prefix; a branch's prefix is its prompt.
struct Segment {
  std::int64_t begin, end;                // token indices in the batch
  std::int64_t prefix_begin, prefix_end;  // equal: none
  std::int64_t length() const { return end - begin; }
  std::int64_t prefix_length() const { return prefix_end - prefix_begin; }
};

// Trees laid end to end. A row is one branch of one tree, in the order of trees, then branches; equal branches of a tree are one segment,
// so that equal responses to a prompt are computed once and get equal rewards.
struct Batch {
  std::vector<std::int64_t> tokens;       // N
  std::vector<std::int64_t> positions;    // N
  std::vector<Segment> segments;          // in the order of tokens
  std::vector<std::int64_t> row_segment;  // B: the segment of a row's branch, of equal branches the first one's
  std::int64_t token_count() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t row_count() const { return static_cast<std::int64_t>(row_segment.size()); }
};

Batch make_batch(std::span<const TokenTree> trees);

// Which trees go into one batch: consecutive in the order given, up to `tokens_per_batch` tokens; a tree larger than that is alone. Returns
// [begin, end) index pairs.
struct TreeRange {
  std::size_t begin, end;
};
std::vector<TreeRange> pack_trees(std::span<const TokenTree> trees, std::int64_t tokens_per_batch);

}  // namespace metarm
