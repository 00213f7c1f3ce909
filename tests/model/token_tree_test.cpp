#include "metarm/model/token_tree.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/transformer.h"

namespace metarm {
namespace {

TokenIds path_of(const TokenTree& tree, std::size_t branch) {
  TokenIds path = tree.prompt;
  path.insert(path.end(), tree.branches[branch].begin(), tree.branches[branch].end());
  return path;
}

TEST(TokenTree, SharesTheLongestCommonPrefix) {
  const TokenTree tree = make_token_tree(std::vector<TokenIds>{{1, 2, 3, 4}, {1, 2, 5}});
  EXPECT_EQ(tree.prompt, (TokenIds{1, 2}));
  EXPECT_EQ(tree.branches, (std::vector<TokenIds>{{3, 4}, {5}}));
}

TEST(TokenTree, KeepsEachEndInItsBranch) {
  const TokenTree prefix = make_token_tree(std::vector<TokenIds>{{1, 2, 3}, {1, 2, 3, 4}});
  EXPECT_EQ(prefix.prompt, (TokenIds{1, 2}));
  const TokenTree equal = make_token_tree(std::vector<TokenIds>{{7, 8}, {7, 8}});
  EXPECT_EQ(equal.branches, (std::vector<TokenIds>{{8}, {8}}));
}

TEST(TokenTree, OneSequenceIsOneBranch) {
  const TokenTree tree = make_token_tree(std::vector<TokenIds>{{4, 5, 6}});
  EXPECT_TRUE(tree.prompt.empty());
  EXPECT_EQ(tree.branches.front(), (TokenIds{4, 5, 6}));
}

TEST(TokenTree, RejectsAnEmptySequence) { EXPECT_THROW(make_token_tree(std::vector<TokenIds>{{1}, {}}), Error); }

TEST(TokenTree, PathsAreTheSequencesAgain) {
  RandomStream random(1, "trees");
  for (int round = 0; round < 200; ++round) {
    std::vector<TokenIds> sequences(1 + random.below(5));
    for (TokenIds& sequence : sequences)
      for (std::uint64_t i = 0; i <= random.below(8); ++i) sequence.push_back(static_cast<TokenId>(random.below(2)));
    const TokenTree tree = make_token_tree(sequences);
    std::int64_t tokens = static_cast<std::int64_t>(tree.prompt.size());
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ(path_of(tree, i), sequences[i]);
      EXPECT_FALSE(tree.branches[i].empty());
      tokens += static_cast<std::int64_t>(tree.branches[i].size());
    }
    EXPECT_EQ(tree.token_count(), tokens);
  }
}

TEST(Batch, CountsPositionsAlongThePath) {
  const std::vector<TokenTree> trees = {make_token_tree(std::vector<TokenIds>{{1, 2, 3, 4}, {1, 2, 5}}),
                                        make_token_tree(std::vector<TokenIds>{{9, 8}})};
  const Batch batch = make_batch(trees);
  EXPECT_EQ(batch.tokens, (std::vector<std::int64_t>{1, 2, 3, 4, 5, 9, 8}));
  EXPECT_EQ(batch.positions, (std::vector<std::int64_t>{0, 1, 2, 3, 2, 0, 1}));
  EXPECT_EQ(batch.row_count(), 3);
  EXPECT_EQ(batch.segments[2].prefix_length(), 2);
  EXPECT_EQ(batch.segments[3].prefix_length(), 0);
}

TEST(Batch, EqualBranchesOfATreeAreOneSegment) {
  const std::vector<TokenTree> trees = {make_token_tree(std::vector<TokenIds>{{1, 2, 3}, {1, 4}, {1, 2, 3}, {1, 2}, {1, 4}}),
                                        make_token_tree(std::vector<TokenIds>{{1, 4}, {1, 4}}),
                                        make_token_tree(std::vector<TokenIds>{{4}})};
  const Batch batch = make_batch(trees);
  EXPECT_EQ(batch.tokens, (std::vector<std::int64_t>{1, 2, 3, 4, 2, 1, 4, 4}));
  EXPECT_EQ(batch.row_segment, (std::vector<std::int64_t>{1, 2, 1, 3, 2, 5, 5, 6}));
  EXPECT_EQ(batch.segments.size(), 7u);
}

TEST(Batch, PacksUpToTheBudgetAndNeverSplitsATree) {
  std::vector<TokenTree> trees;
  for (std::size_t length : {3, 3, 10, 1, 4}) trees.push_back(make_token_tree(std::vector<TokenIds>{TokenIds(length, 1)}));
  std::vector<std::pair<std::size_t, std::size_t>> ranges;
  for (const TreeRange range : pack_trees(trees, 6)) ranges.emplace_back(range.begin, range.end);
  EXPECT_EQ(ranges, (std::vector<std::pair<std::size_t, std::size_t>>{{0, 2}, {2, 3}, {3, 5}}));
}

TEST(Pooling, ReadsTheLastTokenThatIsNotPadding) {
  const TokenTree tree = make_token_tree(std::vector<TokenIds>{{5, 6, 7, 0, 0}, {5, 6, 0}, {5, 6, 9}});
  const Batch batch = make_batch(std::span(&tree, 1));
  const auto token_at = [&](std::int64_t index) { return batch.tokens[static_cast<std::size_t>(index)]; };
  const auto pooled = pooled_tokens(batch, Pooling::last_not_pad, 0);
  EXPECT_EQ(token_at(pooled[0]), 7);
  EXPECT_EQ(token_at(pooled[1]), 6);  // in the prompt
  EXPECT_EQ(token_at(pooled[2]), 9);
  EXPECT_EQ(token_at(pooled_tokens(batch, Pooling::last, 0)[0]), 0);
  EXPECT_EQ(token_at(pooled_tokens(batch, Pooling::last_not_pad, std::nullopt)[1]), 0);
}

}  // namespace
}  // namespace metarm
