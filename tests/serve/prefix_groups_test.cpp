#include "metarm/serve/prefix_groups.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "metarm/base/random.h"
#include "metarm/model/token_tree.h"

namespace metarm {
namespace {

std::vector<PrefixGroup> group(const std::vector<TokenIds>& sequences, std::int64_t tokens_per_batch) {
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& tokens : sequences) pointers.push_back(&tokens);
  return group_by_prefix(pointers, tokens_per_batch);
}

std::int64_t tree_tokens(const std::vector<TokenIds>& sequences) { return make_token_tree(sequences).token_count(); }

// The fewest tokens over all ways to cut the sorted sequences into runs, each tried.
std::int64_t fewest_tokens(std::vector<TokenIds> sequences, std::int64_t tokens_per_batch) {
  std::ranges::sort(sequences);
  std::int64_t fewest = std::numeric_limits<std::int64_t>::max();
  for (unsigned cuts = 0; cuts < 1u << (sequences.size() - 1); ++cuts) {
    std::int64_t total = 0;
    bool fits = true;
    for (std::size_t begin = 0, end = 1; begin < sequences.size(); begin = end++) {
      while (end < sequences.size() && (cuts >> (end - 1) & 1) == 0) ++end;
      const std::int64_t tokens =
          tree_tokens({sequences.begin() + static_cast<std::ptrdiff_t>(begin), sequences.begin() + static_cast<std::ptrdiff_t>(end)});
      fits = fits && (end - begin == 1 || tokens <= tokens_per_batch);
      total += tokens;
    }
    if (fits) fewest = std::min(fewest, total);
  }
  return fewest;
}

TEST(PrefixGroups, ResponsesToOnePromptAreOneTree) {
  const auto groups = group({{1, 2, 3, 4}, {7, 8}, {1, 2, 3, 5}, {1, 2, 3, 6, 6}}, 100);
  ASSERT_EQ(groups.size(), 2);
  EXPECT_EQ(groups[0].members, (std::vector<std::size_t>{0, 2, 3}));
  EXPECT_EQ(groups[0].tokens, 3 + 1 + 1 + 2);
  EXPECT_EQ(groups[1].members, (std::vector<std::size_t>{1}));
}

TEST(PrefixGroups, AStartTokenInCommonDoesNotJoinPrompts) {
  const auto groups = group({{0, 1, 1, 1, 2}, {0, 1, 1, 1, 3}, {0, 4, 4, 4, 5}, {0, 4, 4, 4, 6}}, 100);
  ASSERT_EQ(groups.size(), 2);
  EXPECT_EQ(groups[0].members, (std::vector<std::size_t>{0, 1}));
  EXPECT_EQ(groups[1].members, (std::vector<std::size_t>{2, 3}));
}

TEST(PrefixGroups, EqualAndContainedSequencesKeepTheirLastToken) {
  const auto groups = group({{1, 2, 3}, {1, 2, 3}, {1, 2}}, 100);
  std::int64_t total = 0;
  for (const PrefixGroup& each : groups) total += each.tokens;
  EXPECT_EQ(total, fewest_tokens({{1, 2, 3}, {1, 2, 3}, {1, 2}}, 100));
}

TEST(PrefixGroups, HaveTheFewestTokensAndEachSequenceOnce) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    RandomStream random(seed, "prefix groups");
    std::vector<TokenIds> sequences(1 + random.below(8));
    for (TokenIds& tokens : sequences) {
      tokens.resize(1 + random.below(7));
      for (TokenId& token : tokens) token = static_cast<TokenId>(random.below(2));
    }
    const std::int64_t budget = 4 + static_cast<std::int64_t>(random.below(30));
    std::int64_t total = 0;
    std::vector<std::size_t> members, firsts;
    for (const PrefixGroup& each : group(sequences, budget)) {
      std::vector<TokenIds> inside;
      for (const std::size_t member : each.members) inside.push_back(sequences[member]);
      EXPECT_EQ(each.tokens, tree_tokens(inside));
      EXPECT_TRUE(each.members.size() == 1 || each.tokens <= budget);
      EXPECT_TRUE(std::ranges::is_sorted(each.members));
      total += each.tokens;
      firsts.push_back(each.members.front());
      members.insert(members.end(), each.members.begin(), each.members.end());
    }
    EXPECT_EQ(total, fewest_tokens(sequences, budget)) << "seed " << seed;
    EXPECT_TRUE(std::ranges::is_sorted(firsts));
    std::ranges::sort(members);
    std::vector<std::size_t> all(sequences.size());
    std::iota(all.begin(), all.end(), std::size_t{0});
    EXPECT_EQ(members, all);
  }
}

}  // namespace
}  // namespace metarm
