#include "metarm/eval/reward_bench.h"

#include <gtest/gtest.h>

#include <cmath>

#include "metarm/base/error.h"

namespace metarm {
namespace {

BenchmarkItem item(const std::string& subset, std::vector<float> scores, const Json& id = 1, std::int64_t correct = 1) {
  BenchmarkItem made;
  made.subset = subset;
  made.scores = std::move(scores);
  made.id = id;
  made.correct = correct;
  made.where = "rows.jsonl:1";
  return made;
}

TEST(RewardBench, ATieIsWrong) {
  EXPECT_EQ(item_result(BenchmarkVersion::reward_bench, std::vector<float>{1, 0}), 1);
  EXPECT_EQ(item_result(BenchmarkVersion::reward_bench, std::vector<float>{1, 1}), 0);
}

TEST(RewardBench, SectionsWeighSubsetsByTheirExamples) {
  const std::vector<BenchmarkItem> items = {item("alpacaeval-easy", {1, 0}), item("mt-bench-easy", {0, 1}), item("math-prm", {0, 1}),
                                            item("math-prm", {1, 0}),        item("hep-cpp", {1, 0}),       item("my own", {1, 0})};
  const BenchmarkResult result = benchmark_result(BenchmarkVersion::reward_bench, items);
  EXPECT_EQ(result.subsets.at("math-prm").score, 0.5);
  EXPECT_EQ(result.subsets.at("math-prm").items, 2);
  EXPECT_EQ(result.subsets.at("my own").score, 1);
  ASSERT_EQ(result.sections.size(), 2U);
  EXPECT_NEAR(result.sections.at("Chat"), 100.0 / 128, 1e-12);
  EXPECT_NEAR(result.sections.at("Reasoning"), (0.5 * 984 + 164) / (984 + 164), 1e-12);
  EXPECT_NEAR(result.average, (result.sections.at("Chat") + result.sections.at("Reasoning")) / 2, 1e-12);
}

TEST(RewardBench, PriorSetsHaveHalfTheWeight) {
  const std::vector<BenchmarkItem> items = {item("donotanswer", {1, 0}), item("shp", {0, 1}), item("summarize", {1, 0}),
                                            item("anthropic_harmless", {0, 1})};
  const BenchmarkResult result = benchmark_result(BenchmarkVersion::reward_bench, items);
  EXPECT_EQ(result.sections.at("Prior Sets"), 0.5);  // anthropic_harmless is none of the four
  EXPECT_NEAR(result.average, (2 * 1 + 1 * 0.5) / 3, 1e-12);
}

TEST(RewardBench2, TheFirstMustBeAloneAtTheTop) {
  EXPECT_EQ(item_result(BenchmarkVersion::reward_bench_2, std::vector<float>{3, 1, 2, 0}), 1);
  EXPECT_EQ(item_result(BenchmarkVersion::reward_bench_2, std::vector<float>{3, 3, 2, 0}), 0.5);
  EXPECT_EQ(item_result(BenchmarkVersion::reward_bench_2, std::vector<float>{2, 3, 3, 0}), 0);
}

TEST(RewardBench2, TiesByHand) {
  // ref:1 gap 2; tied:1 spread 1, gap 3: everything holds. min(2, 3) / 1 − 1 = 1.
  std::vector<BenchmarkItem> items = {item("Ties", {3, 1}, "ref:1"), item("Ties", {5, 4, 1}, "tied:1", 2)};
  EXPECT_NEAR(ties_score(items), 1 + 0.01 * std::tanh(1.0), 1e-12);
  // ref:2 gap −1; tied:2 spread 2, gap −1: nothing holds.
  items.push_back(item("Ties", {0, 1}, "ref:2"));
  items.push_back(item("Ties", {2, 0, 1}, "tied:2", 2));
  EXPECT_NEAR(ties_score(items), 0.5 + 0.01 * (std::tanh(1.0) + std::tanh(-1.5)) / 2, 1e-12);
  // tied:3 is no couple: its accuracy alone counts.
  items.push_back(item("Ties", {9, 8, 1}, "tied:3", 2));
  EXPECT_NEAR(ties_score(items), 0.3 * 2 / 3 + 0.3 / 2 + 0.2 / 2 + 0.2 / 2 + 0.01 * (std::tanh(1.0) + std::tanh(-1.5)) / 2, 1e-12);
  const BenchmarkResult result = benchmark_result(BenchmarkVersion::reward_bench_2, items);
  EXPECT_EQ(result.subsets.at("Ties").score, ties_score(items));
}

TEST(RewardBench2, TiesWithoutASpread) {
  const auto margin = [](std::vector<float> tied) {  // of equal correct scores; ref holds
    const std::vector<BenchmarkItem> items = {item("ties", {9, 0}, "ref:1"), item("ties", std::move(tied), "tied:1", 2)};
    return ties_score(items);
  };
  EXPECT_NEAR(margin({2, 2, 1}), 1 + 0.01, 1e-12);    // 1 / 0
  EXPECT_NEAR(margin({2, 2, 2}), 0.3 + 0, 1e-12);     // 0 / 0 counts 0
  EXPECT_NEAR(margin({2, 2, 3}), 0.3 - 0.01, 1e-12);  // −1 / 0
}

TEST(RewardBench2, AverageOfSubsets) {
  const std::vector<BenchmarkItem> items = {item("Math", {1, 0, 0, 0}), item("Math", {0, 1, 0, 0}), item("Focus", {1, 1, 0, 0})};
  const BenchmarkResult result = benchmark_result(BenchmarkVersion::reward_bench_2, items);
  EXPECT_EQ(result.average, 0.5);
  EXPECT_TRUE(result.sections.empty());
}

TEST(RewardBench2, WhatTiesCannotScoreIsNamed) {
  EXPECT_THROW(ties_score(std::vector{item("Ties", {1, 0}, "1")}), Error);
  EXPECT_THROW(ties_score(std::vector{item("Ties", {1, 0}, "ref:")}), Error);
  EXPECT_THROW(ties_score(std::vector{item("Ties", {1, 0}, "ref:1", 2)}), Error);
  EXPECT_THROW(ties_score(std::vector{item("Ties", {1, 0}, "ref:1"), item("Ties", {1, 0}, "tied:1")}), Error);
}

}  // namespace
}  // namespace metarm
