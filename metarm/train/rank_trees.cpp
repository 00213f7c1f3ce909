#include "metarm/train/rank_trees.h"

#include <utility>

namespace metarm {

RankTrees trees_of_rank(std::vector<TokenTree> step_trees, const Ranks& ranks) {
  RankTrees own;
  std::vector<std::int64_t> costs;
  for (const TokenTree& tree : step_trees) {
    costs.push_back(tree.token_count());
    own.step_tokens += costs.back();
  }
  for (const std::int64_t row : rows_of_rank(costs, ranks.rank(), ranks.size())) {
    own.places.push_back(static_cast<std::size_t>(row));
    own.trees.push_back(std::move(step_trees[own.places.back()]));
  }
  return own;
}

}  // namespace metarm
