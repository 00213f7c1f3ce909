#include "metarm/eval/prompt_spread.h"

#include <gtest/gtest.h>

#include <cmath>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

std::vector<ResponseGroup> make_groups(std::size_t count) {
  std::vector<ResponseGroup> groups(count);
  for (std::size_t i = 0; i < count; ++i) {
    groups[i].prompt = "prompt " + std::to_string(i);
    groups[i].responses = {std::string("a"), std::string("b")};
    groups[i].where = "groups.jsonl:" + std::to_string(i + 1);
  }
  return groups;
}

TEST(RewardSpread, IsTheMeanDifference) {
  EXPECT_DOUBLE_EQ(reward_spread(std::vector<float>{0, 1, 3}), 2.0);
  EXPECT_DOUBLE_EQ(reward_spread(std::vector<float>{4, NAN, 1}), 3.0);
  EXPECT_TRUE(std::isnan(reward_spread(std::vector<float>{1, NAN})));
}

TEST(SpreadLoss, AMereChangeOfScaleIsNone) {
  const GroupScores before{{{0, 1}, {0, 3}}, 1.0}, scaled{{{0, 10}, {0, 30}}, 10.0}, narrower{{{0, 5}, {0, 30}}, 10.0};
  EXPECT_DOUBLE_EQ(spread_loss(before, scaled).loss, 0.0);
  const SpreadLoss loss = spread_loss(before, narrower);
  EXPECT_EQ(loss.groups, 2);
  EXPECT_DOUBLE_EQ(loss.before, 2.0);
  EXPECT_DOUBLE_EQ(loss.after, 1.75);
  EXPECT_DOUBLE_EQ(loss.loss, 0.25);
  EXPECT_DOUBLE_EQ(loss.share_lost, 0.5);
}

TEST(PromptRows, TheLargestLossComesFirst) {
  const std::vector<ResponseGroup> groups = make_groups(3);
  const GroupScores before{{{0, 1}, {0, 4}, {NAN, 1}}, 1.0}, after{{{0, 1}, {0, 2}, {0, 1}}, 1.0};
  const std::vector<std::vector<float>> second = {{2, 1}, {1, 2}, {1, 1}};
  const std::vector<Json> rows = prompt_rows(groups, after, &second, &before);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0]["prompt"], "prompt 1");
  EXPECT_EQ(rows[0]["spread_loss"], 2.0);
  EXPECT_EQ(rows[0]["tau_b"], 1.0);
  EXPECT_EQ(rows[1]["prompt"], "prompt 0");
  EXPECT_EQ(rows[1]["tau_b"], -1.0);
  EXPECT_EQ(rows[2]["prompt"], "prompt 2");  // undefined: last
  EXPECT_EQ(Json::parse(rows[2].dump())["spread_loss"], nullptr);
}

TEST(PromptRows, WithoutAnEarlierModelTheSmallestSpreadComesFirst) {
  const std::vector<Json> rows = prompt_rows(make_groups(2), {{{0, 3}, {0, 1}}, 2.0}, nullptr, nullptr);
  EXPECT_EQ(rows[0]["prompt"], "prompt 1");
  EXPECT_EQ(rows[0]["spread"], 1.0);
  EXPECT_EQ(rows[0]["scaled_spread"], 0.5);
  EXPECT_FALSE(rows[0].contains("spread_loss"));
}

class GroupScoresFile : public ::testing::Test {
 protected:
  GroupScores read(const std::string& rows) {
    write_file(folder_ / "scored.jsonl", rows);
    return read_group_scores(folder_ / "scored.jsonl", groups_);
  }
  std::string error(const std::string& rows) {
    try {
      read(rows);
    } catch (const Error& caught) {
      return caught.what();
    }
    return "";
  }

  const std::string groups_rows_ =
      "{\"prompt\": \"prompt 1\", \"responses\": [\"a\", \"b\"], \"rewards\": [5, null]}\n"
      "{\"prompt\": \"another\", \"responses\": [\"a\", \"b\"], \"rewards\": [9, 9]}\n"
      "{\"prompt\": \"prompt 0\", \"responses\": [\"a\", \"b\"], \"rewards\": [1, 2]}\n";
  const std::string pair_row_ = "{\"chosen\": \"x\", \"rejected\": \"y\", \"chosen_reward\": 1, \"rejected_reward\": 5}\n";
  const std::vector<ResponseGroup> groups_ = make_groups(2);
  TemporaryFolder folder_;
};

TEST_F(GroupScoresFile, IsFoundByTheTexts) {
  const GroupScores scores = read(groups_rows_ + pair_row_);
  EXPECT_EQ(scores.rewards[0], (std::vector<float>{1, 2}));
  EXPECT_EQ(scores.rewards[1][0], 5);
  EXPECT_TRUE(std::isnan(scores.rewards[1][1]));
  EXPECT_DOUBLE_EQ(scores.deviation, 2.0);
}

TEST_F(GroupScoresFile, ItsOwnRowsSayTheDeviation) {
  std::string rows;
  for (const Json& row : prompt_rows(groups_, {{{1, 2}, {3, 4}}, 0.5}, nullptr, nullptr)) rows += row.dump() + "\n";
  const GroupScores scores = read(rows);
  EXPECT_EQ(scores.rewards, (std::vector<std::vector<float>>{{1, 2}, {3, 4}}));
  EXPECT_DOUBLE_EQ(scores.deviation, 0.5);
}

TEST_F(GroupScoresFile, WhatIsMissingIsNamed) {
  EXPECT_NE(error(groups_rows_).find("expected scored pairs"), std::string::npos);
  EXPECT_NE(error(groups_rows_.substr(0, groups_rows_.find('\n') + 1) + pair_row_).find("groups.jsonl:1"), std::string::npos);
  EXPECT_NE(error("{\"prompt\": \"prompt 1\", \"responses\": [\"a\"]}\n").find("scored.jsonl:1: rewards"), std::string::npos);
}

}  // namespace
}  // namespace metarm
