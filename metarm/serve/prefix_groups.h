// Which of the waiting sequences share a token tree: whatever they begin with alike is computed once, whoever sent them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "metarm/text/tokenizer.h"

namespace metarm {

struct PrefixGroup {
  std::vector<std::size_t> members;  // indices into the sequences, ascending
  std::int64_t tokens;               // of the tree that they make (model/token_tree.h)
};

// Divides the sequences (none empty) into trees. Of all divisions into runs of their lexicographic order it takes the one with the fewest
// tokens, such that no tree of several has more than `tokens_per_batch`. Groups come in the order of their first members.
// Cost: sorting, then at most O(n^2) for n sequences that all share something.
std::vector<PrefixGroup> group_by_prefix(std::span<const TokenIds* const> sequences, std::int64_t tokens_per_batch);

}  // namespace metarm
