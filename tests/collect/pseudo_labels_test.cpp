#include "metarm/collect/pseudo_labels.h"

#include <gtest/gtest.h>

#include <cmath>

#include "metarm/collect/label_accuracy.h"
#include "metarm/collect/temperature.h"
#include "tests/support/error_of.h"

namespace metarm {
namespace {

double sigma(double x) { return 1 / (1 + std::exp(-x)); }

ScoredGroup group_of(std::vector<std::vector<double>> rewards, std::vector<double> labels = {}) {
  ScoredGroup group;
  for (std::size_t i = 0; i < rewards[0].size(); ++i) group.group.responses.emplace_back(std::string(1, static_cast<char>('a' + i)));
  group.labels = labels.empty() ? std::vector<double>(rewards[0].size(), NAN) : std::move(labels);
  group.rewards = std::move(rewards);
  return group;
}

TEST(Temperature, ThreeOfFourRight) {
  // σ(1 / T) = 3/4, so T = 1 / ln 3; and T has the rewards' unit.
  EXPECT_NEAR(fit_temperature(std::vector<double>{1, 1, 1, -1}, "f"), 1 / std::log(3), 1e-9);
  EXPECT_NEAR(fit_temperature(std::vector<double>{100, 100, 100, -100}, "f"), 100 / std::log(3), 1e-7);
}

TEST(Temperature, IsNotThereWhereNoneFits) {
  const auto error = [](std::vector<double> margins) { return error_of([&] { fit_temperature(margins, "f.jsonl"); }); };
  EXPECT_EQ(error({}), "f.jsonl: expected pairs with rewards, got none");
  EXPECT_NE(error({1, -1}).find("f.jsonl: expected rewards that put chosen responses above"), std::string::npos);
  EXPECT_NE(error({1, 2}).find("got none of 2; no temperature fits best"), std::string::npos);
}

TEST(PseudoPairs, BestAgainstWorst) {
  const std::vector<PseudoPair> pairs = make_pseudo_pairs(group_of({{0, 2, 1}}, {5, 4, 6}), std::vector<double>{2}, {});
  ASSERT_EQ(pairs.size(), 1);
  EXPECT_EQ(pairs[0].chosen, 1);
  EXPECT_EQ(pairs[0].rejected, 0);
  EXPECT_EQ(pairs[0].margin, 1);
  EXPECT_NEAR(pairs[0].confidence, sigma(1), 1e-12);
  EXPECT_EQ(pairs[0].right, false);
  EXPECT_TRUE(make_pseudo_pairs(group_of({{1, 1}}), std::vector<double>{1}, {}).empty());
  EXPECT_TRUE(make_pseudo_pairs(group_of({{1}}), std::vector<double>{1}, {}).empty());
}

TEST(PseudoPairs, AllThatExceedTheMargin) {
  const PseudoLabelRules rules{.choice = PairChoice::all, .min_margin = 1};
  const std::vector<PseudoPair> pairs = make_pseudo_pairs(group_of({{0, 2, 1}}), std::vector<double>{1}, rules);
  ASSERT_EQ(pairs.size(), 1);  // those of margin 1 do not
  EXPECT_EQ(pairs[0].margin, 2);
  EXPECT_EQ(make_pseudo_pairs(group_of({{0, 2, 1}}), std::vector<double>{1}, {.choice = PairChoice::all}).size(), 3);
}

TEST(PseudoPairs, AnEnsembleVotes) {
  // Scores 0, (2 + 1/2) / 2 and (1 + 4/2) / 2. The two disagree on b and c.
  const ScoredGroup group = group_of({{0, 2, 1}, {0, 1, 4}});
  const std::vector<double> temperatures = {1, 2};
  PseudoLabelRules rules{.choice = PairChoice::all};
  std::vector<PseudoPair> pairs = make_pseudo_pairs(group, temperatures, rules);
  ASSERT_EQ(pairs.size(), 2);
  EXPECT_NEAR(pairs[0].confidence, (sigma(2) + sigma(0.5)) / 2, 1e-12);
  EXPECT_EQ(pairs[1].chosen, 2);
  EXPECT_NEAR(pairs[1].margin, 1.5, 1e-12);
  EXPECT_NEAR(pairs[1].confidence, (sigma(1) + sigma(2)) / 2, 1e-12);

  rules.min_agreement = 0.5;
  rules.confidence = ConfidenceKind::agreement;
  pairs = make_pseudo_pairs(group, temperatures, rules);
  ASSERT_EQ(pairs.size(), 3);
  EXPECT_EQ(pairs[0].confidence, 1);
  EXPECT_EQ(pairs[2].confidence, 0.5);
}

TEST(PseudoPairs, EqualResponsesMakeNone) {
  ScoredGroup group = group_of({{0, 2}});
  group.group.responses[1] = group.group.responses[0];
  EXPECT_TRUE(make_pseudo_pairs(group, std::vector<double>{1}, {}).empty());
}

TEST(Curriculum, TheThresholdFalls) {
  EXPECT_NEAR(confidence_threshold(0.9, 0.6, 1, 4), 0.9, 1e-12);
  EXPECT_NEAR(confidence_threshold(0.9, 0.6, 2, 4), 0.8, 1e-12);
  EXPECT_NEAR(confidence_threshold(0.9, 0.6, 4, 4), 0.6, 1e-12);
  EXPECT_EQ(confidence_threshold(0.9, 0.6, 1, 1), 0.6);
}

TEST(LabelAccuracy, ByConfidence) {
  LabelAccuracy accuracy;
  for (const PseudoPair& pair : {PseudoPair{0, 1, 1, 0.95, true}, PseudoPair{0, 1, 1, 0.9, false}, PseudoPair{0, 1, 1, 0.55, true},
                                 PseudoPair{0, 1, 1, 0.5, std::nullopt}})
    accuracy.add(pair);
  const Json json = to_json(accuracy);
  EXPECT_EQ(json["pairs"], 3);
  EXPECT_EQ(json["right"], 2);
  EXPECT_EQ(json["not_labelled"], 1);
  ASSERT_EQ(json["bins"].size(), 2);
  EXPECT_EQ(json["bins"][0]["from"], 0.5);
  EXPECT_EQ(json["bins"][0]["accuracy"], 1);
  EXPECT_EQ(json["bins"][1]["from"], 0.9);
  EXPECT_EQ(json["bins"][1]["accuracy"], 0.5);
  EXPECT_NEAR(json["bins"][1]["confidence"].get<double>(), 0.925, 1e-12);
  EXPECT_TRUE(to_json(LabelAccuracy{})["accuracy"].is_null());
}

}  // namespace
}  // namespace metarm
