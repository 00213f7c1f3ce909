// The token trees of a step that fall to this rank.
#pragma once

#include <cstdint>
#include <vector>

#include "metarm/base/ranks.h"
#include "metarm/model/token_tree.h"

namespace metarm {

struct RankTrees {
  std::vector<TokenTree> trees;
  std::vector<std::size_t> places;  // of each tree, among the trees of the step
  std::int64_t step_tokens = 0;     // of the whole step
};

// Divides `step_trees` by their tokens; a function of the trees alone. With fewer trees than ranks some ranks have none.
RankTrees trees_of_rank(std::vector<TokenTree> step_trees, const Ranks& ranks);

}  // namespace metarm
