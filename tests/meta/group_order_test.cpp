// Which groups a step takes: every group of every mode, in equal parts; recent ones more often; the same for the same seed and step.
#include "metarm/meta/group_order.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

namespace metarm {
namespace {

using Modes = std::vector<std::string>;

TEST(GroupOrder, OneModeIsAStreamOfEpochs) {
  GroupOrder order(Modes(7, ""), {}, false, 3, true);
  DataOrder expected(7, 3, "groups", true);
  for (std::int64_t step = 0; step < 6; ++step) EXPECT_EQ(order.batch(step, 3), expected.stream(step, 3));
}

TEST(GroupOrder, ModesGetEqualPartsHoweverLargeTheyAre) {
  Modes modes(40, "large");
  modes.insert(modes.end(), 4, "small");
  GroupOrder order(modes, {}, false, 1, true);
  EXPECT_EQ(order.mode_names(), (Modes{"large", "small"}));
  std::map<std::int64_t, int> taken;
  for (std::int64_t step = 0; step < 20; ++step)
    for (const std::int64_t group : order.batch(step, 4)) ++taken[group];
  int small = 0;
  for (std::int64_t group = 40; group < 44; ++group) {
    EXPECT_EQ(taken[group], 10);
    small += taken[group];
  }
  EXPECT_EQ(small, 40);  // half of 80
  EXPECT_EQ(taken.size(), 44U);
}

TEST(GroupOrder, AStepOfOneModeAndTheNextOfAnother) {
  GroupOrder order(Modes{"a", "b", "a", "b", "a", "b"}, {}, true, 1, true);
  std::set<std::int64_t> of_a;
  for (std::int64_t step = 0; step < 6; ++step)
    for (const std::int64_t group : order.batch(step, 2)) {
      EXPECT_EQ(static_cast<std::size_t>(group % 2), order.mode_of_step(step));
      if (step % 2 == 0) of_a.insert(group);
    }
  EXPECT_EQ(of_a, (std::set<std::int64_t>{0, 2, 4}));
}

TEST(GroupOrder, AModeOfFewGroupsMakesSmallSteps) {
  const std::vector<std::string> modes = {"a", "b", "b", "b", "b", "b"};
  GroupOrder order(modes, {}, true, 1, true);
  std::map<std::int64_t, int> taken;
  for (std::int64_t step = 0; step < 10; ++step) {
    const std::vector<std::int64_t> batch = order.batch(step, 4);
    EXPECT_EQ(batch.size(), step % 2 == 0 ? 1U : 4U);
    for (const std::int64_t group : batch) ++taken[group];
  }
  for (std::int64_t group = 1; group < 6; ++group) EXPECT_EQ(taken[group], 4) << "one epoch after another";
}

TEST(GroupOrder, WeightsSayHowOftenAGroupIsDrawn) {
  const std::vector<std::int64_t> rounds = {1, 1, 2, 3};
  const std::vector<double> weights = recency_weights(rounds, 1);
  EXPECT_EQ(weights, (std::vector<double>{0.25, 0.25, 0.5, 1}));
  GroupOrder order(Modes(4, ""), weights, false, 5, true);
  constexpr int kDraws = 20000;
  std::map<std::int64_t, int> taken;
  for (std::int64_t step = 0; step < kDraws; ++step) ++taken[order.batch(step, 1).front()];
  for (std::int64_t group = 0; group < 4; ++group) {
    const double expected = weights[static_cast<std::size_t>(group)] / 2;
    EXPECT_NEAR(taken[group] / static_cast<double>(kDraws), expected, 5 * std::sqrt(expected / kDraws));
  }
}

TEST(GroupOrder, AStepDrawsNoGroupTwice) {
  for (const double heavy : {16., 1e12}) {
    GroupOrder order(Modes(5, ""), {1, 1, 1, 1, heavy}, false, 5, true);
    for (std::int64_t step = 0; step < 100; ++step) {
      const std::vector<std::int64_t> groups = order.batch(step, 4);
      EXPECT_EQ(std::set<std::int64_t>(groups.begin(), groups.end()).size(), 4U) << heavy;
    }
  }
}

TEST(GroupOrder, WhatIsLeftIsDrawnByItsWeights) {
  GroupOrder order(Modes(3, ""), {1, 3, 1e12}, false, 5, true);
  constexpr int kSteps = 4000;
  int taken = 0;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    const std::vector<std::int64_t> groups = order.batch(step, 2);
    EXPECT_EQ(groups[0], 2);
    taken += groups[1] == 1;
  }
  EXPECT_NEAR(taken / static_cast<double>(kSteps), 0.75, 0.035);
}

TEST(GroupOrder, AModeThatIsTakenWholeIsDrawnFromAgain) {
  GroupOrder order(Modes{"small", "large", "large", "large"}, {1, 1, 1, 1}, false, 5, true);
  const std::vector<std::int64_t> groups = order.batch(0, 4);  // large, small, large, small
  EXPECT_EQ(groups[1], 0);
  EXPECT_EQ(groups[3], 0);
  EXPECT_NE(groups[0], groups[2]);
}

TEST(GroupOrder, WeightsThatAreTooSmallAreAlike) {
  const std::vector<std::int64_t> rounds = {1, 1, 1, 5000};
  const std::vector<double> weights = recency_weights(rounds, 1);
  ASSERT_EQ(weights, (std::vector<double>{0, 0, 0, 1}));
  GroupOrder order(Modes{"a", "a", "a", "b"}, weights, false, 5, true), together(Modes(4, ""), weights, false, 5, true);
  constexpr int kSteps = 3000;
  std::map<std::int64_t, int> taken;
  for (std::int64_t step = 0; step < kSteps; ++step) {
    ++taken[order.batch(step, 2)[0]];
    EXPECT_EQ(together.batch(step, 2)[0], 3) << "a weight of 0 beside another";
  }
  for (std::int64_t group = 0; group < 3; ++group) EXPECT_NEAR(taken[group] / static_cast<double>(kSteps), 1 / 3., 0.045);
}

TEST(GroupOrder, IsAFunctionOfSeedAndStep) {
  const std::vector<double> weights = {1, 2, 3, 4, 5, 6, 7, 8};
  GroupOrder one(Modes(8, ""), weights, false, 5, true), same(Modes(8, ""), weights, false, 5, true),
      other(Modes(8, ""), weights, false, 6, true);
  for (std::int64_t step = 0; step < 10; ++step) one.batch(step, 4);
  EXPECT_EQ(one.batch(7, 4), same.batch(7, 4));
  int equal = 0;
  for (std::int64_t step = 0; step < 10; ++step) equal += one.batch(step, 4) == other.batch(step, 4);
  EXPECT_LT(equal, 3);
}

}  // namespace
}  // namespace metarm
