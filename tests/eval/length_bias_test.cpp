#include "metarm/eval/length_bias.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

namespace metarm {
namespace {

const Content kPrompt = std::string("q");

TEST(ResponseCharacters, CountTheResponseAlone) {
  EXPECT_EQ(response_characters(kPrompt, std::string("añ€😀")), 4);
  EXPECT_EQ(response_characters(std::nullopt, std::string("\n\nHuman: Hi\n\nAssistant: Hello!")), 7);
  EXPECT_EQ(response_characters(std::nullopt, std::string("no turns")), 8);
  EXPECT_EQ(response_characters(std::nullopt, Conversation{{"user", "long question"}, {"assistant", "yes"}}), 3);
  EXPECT_EQ(response_characters(kPrompt, Conversation{{"user", "q"}, {"assistant", "yes"}}), 3);
  EXPECT_EQ(response_characters(kPrompt, Conversation{{"assistant", "yes"}, {"user", "?"}}), 4);
}

TEST(LengthCorrelation, IsPearsonsInOneGroup) {
  const std::vector<std::vector<float>> rewards = {{1, 2, 4}};
  const std::vector<std::vector<double>> lengths = {{3, 1, 2}};
  // Means 7/3 and 2: products 1·(−4/3) + (−1)(−1/3) + 0 = −1; squares 42/9 and 2.
  EXPECT_NEAR(length_correlation(rewards, lengths), -1 / std::sqrt(42.0 / 9 * 2), 1e-7);
}

TEST(LengthCorrelation, GroupsDoNotCountForTheirPrompts) {
  const std::vector<std::vector<float>> rewards = {{0, 1}, {10, 9}};
  const std::vector<std::vector<double>> lengths = {{0, 1}, {100, 101}};
  EXPECT_NEAR(length_correlation(rewards, lengths), 0, 1e-12);
}

TEST(LengthCorrelation, WhatWasNotScoredDoesNotCount) {
  const std::vector<std::vector<float>> rewards = {{1, NAN, 2}, {NAN, NAN, 3}};
  const std::vector<std::vector<double>> lengths = {{5, 900, 6}, {1, 2, 3}};
  EXPECT_NEAR(length_correlation(rewards, lengths), 1, 1e-12);
  EXPECT_TRUE(std::isnan(length_correlation({}, {})));
}

TEST(LengthBias, AccuracyByWhichIsLonger) {
  const std::vector<PairRewards> rewards = {{2, 1}, {3, 1}, {1, 1}, {0, 5}, {1, 0}};
  const std::vector<PairLengths> lengths = {{9, 2}, {8, 3}, {7, 6}, {1, 4}, {5, 5}};
  const LengthBias bias = length_bias(rewards, lengths);
  EXPECT_EQ(bias.longer.pairs, 3);
  EXPECT_NEAR(bias.longer.accuracy, 2.0 / 3, 1e-12);
  EXPECT_EQ(bias.shorter.pairs, 1);
  EXPECT_EQ(bias.shorter.accuracy, 0);
  EXPECT_EQ(bias.equal.pairs, 1);
  EXPECT_EQ(bias.equal.accuracy, 1);
  EXPECT_EQ(bias.longer.interval.low, wilson_interval(2, 3).low);
  // Halves of differences of rewards 1 2 0 −5 1 and lengths 7 5 1 −3 0: products 7 + 10 + 15, squares 31 and 84.
  EXPECT_NEAR(bias.within_correlation, 32 / std::sqrt(31.0 * 84), 1e-7);
}

TEST(LengthBias, AnEmptyPartIsUndefined) {
  const LengthBias bias = length_bias(std::vector<PairRewards>{{1, 0}}, std::vector<PairLengths>{{2, 1}});
  EXPECT_TRUE(std::isnan(bias.shorter.accuracy));
  EXPECT_TRUE(std::isnan(bias.shorter.interval.high));
}

}  // namespace
}  // namespace metarm
