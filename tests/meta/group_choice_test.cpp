// Near-duplicates go, the first of two alike stays; of each mode the groups that are told apart least are kept.
#include "metarm/meta/group_choice.h"

#include <gtest/gtest.h>

namespace metarm {
namespace {

ResponseGroup group_of(std::vector<Content> responses, std::vector<double> rewards) {
  ResponseGroup group;
  group.prompt = "why?";
  group.responses = std::move(responses);
  group.rewards = std::move(rewards);
  return group;
}

TEST(GroupChoice, NearDuplicatesGo) {
  // abc bcd cde | abc bcd cdx: 2 of 4 in both.
  const std::vector<ResponseGroup> given = {group_of({"a b c d e", "a b c d x", "something else entirely"}, {1, 2, 3})};
  std::vector<ResponseGroup> groups = given;
  EXPECT_EQ(drop_near_duplicates(groups, 0.5).responses, 0U);
  EXPECT_EQ(drop_near_duplicates(groups, 0).responses, 0U);
  const DroppedDuplicates dropped = drop_near_duplicates(groups, 0.49);
  EXPECT_EQ(dropped.responses, 1U);
  EXPECT_EQ(dropped.groups, 0U);
  EXPECT_EQ(groups[0].responses, (std::vector<Content>{"a b c d e", "something else entirely"}));
  EXPECT_EQ(groups[0].rewards, (std::vector<double>{1, 3}));
}

TEST(GroupChoice, AGroupOfOneTextGoes) {
  std::vector<ResponseGroup> groups = {group_of({"a b", "A  b"}, {}), group_of({"a b", "c d"}, {})};
  const DroppedDuplicates dropped = drop_near_duplicates(groups, 0.9);
  EXPECT_EQ(dropped.responses, 1U);
  EXPECT_EQ(dropped.groups, 1U);
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].responses[1], Content("c d"));
}

TEST(GroupChoice, TheHardestOfEachModeAreKept) {
  const std::vector<std::vector<float>> rewards = {{0, 5}, {0, 1, 2}, {3, 3}, {0, 9}, {0, 8}};
  const std::vector<std::string> modes = {"a", "a", "a", "b", "b"};
  EXPECT_EQ(hardest_groups(rewards, modes, 0.5), (std::vector<std::int64_t>{1, 2, 4}));  // mean differences 5, 4/3, 0 | 9, 8
  EXPECT_EQ(hardest_groups(rewards, modes, 1), (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
}

}  // namespace
}  // namespace metarm
