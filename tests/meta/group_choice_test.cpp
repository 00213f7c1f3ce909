// Near-duplicates go, the first of two alike stays; of each mode the groups that are told apart least are kept.
#include "metarm/meta/group_choice.h"

#include <gtest/gtest.h>

namespace metarm {
namespace {

TEST(GroupChoice, NearDuplicatesGo) {
  // After the common prompt 1 2: trigrams 345 456 567 678; with 9 at the end 345 456 567 679: 3 of 5 in common; and another text.
  std::vector<EncodedGroup> groups = {{{{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 3, 4, 5, 6, 7, 9}, {1, 2, 9, 8, 7, 6}}, 0, {0, 1, 2}}};
  groups[0].responses[0] = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<EncodedGroup> all = groups;
  EXPECT_EQ(drop_near_duplicates(all, 0.6), 0);
  EXPECT_EQ(drop_near_duplicates(groups, 0.59), 1);
  EXPECT_EQ(groups[0].responses, (std::vector<TokenIds>{{1, 2, 3, 4, 5, 6, 7, 8}, {1, 2, 9, 8, 7, 6}}));
  EXPECT_EQ(groups[0].places, (std::vector<std::int64_t>{0, 2}));
}

TEST(GroupChoice, AGroupOfOneTextGoes) {
  std::vector<EncodedGroup> groups = {{{{1, 2, 3}, {1, 2, 3}}, 0, {0, 1}}, {{{1, 5}, {1, 6}}, 1, {0, 1}}};
  EXPECT_EQ(drop_near_duplicates(groups, 0.9), 1);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].row, 1);
}

TEST(GroupChoice, TheHardestOfEachModeAreKept) {
  const std::vector<std::vector<float>> rewards = {{0, 5}, {0, 1, 2}, {3, 3}, {0, 9}, {0, 8}};
  const std::vector<std::string> modes = {"a", "a", "a", "b", "b"};
  EXPECT_EQ(hardest_groups(rewards, modes, 0.5), (std::vector<std::int64_t>{1, 2, 4}));  // mean differences 5, 4/3, 0 | 9, 8
  EXPECT_EQ(hardest_groups(rewards, modes, 1), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace metarm
