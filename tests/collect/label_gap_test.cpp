#include "metarm/collect/label_gap.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace metarm {
namespace {

TEST(LabelGap, IsTheDistanceOfTheProbabilityFromTheLabel) {
  EXPECT_DOUBLE_EQ(label_gap(0, false), 0.5);
  EXPECT_DOUBLE_EQ(label_gap(0, true), 0);
  EXPECT_NEAR(label_gap(std::log(4), false), 0.2, 1e-15);   // P = 4/5
  EXPECT_NEAR(label_gap(-std::log(4), false), 0.8, 1e-15);  // wrong
  EXPECT_NEAR(label_gap(std::log(7.0 / 3), true), 0.2, 1e-15);
  EXPECT_NEAR(label_gap(-std::log(7.0 / 3), true), 0.2, 1e-15);
}

CollectedPair made(const char* kind, const char* chosen, bool tie = false) {
  return {{Content("q"), chosen, " r", 0, 1, "", "", ""}, kind, {}, {}, tie, {}};
}

TEST(LabelGap, WideOnesStayAndTheOthersAreCounted) {
  std::vector<CollectedPair> pairs = {made("a", " sure"), made("a", " unsure"),     made("b", " wrong"),       made("b", " sure too"),
                                      made("a", " long"), made("t", " even", true), made("t", " uneven", true)};
  const std::vector<std::optional<double>> differences = {2, 1, -3, 5, std::nullopt, 0.5, -1};
  int calls = 0;
  const GapFilter kept = keep_wide_gaps(pairs, 0.2, [&](std::span<const Pair* const> asked) {
    ++calls;
    EXPECT_EQ(asked.size(), pairs.size());
    for (std::size_t i = 0; i < asked.size(); ++i) EXPECT_EQ(asked[i]->chosen, pairs[i].pair.chosen);
    return differences;
  });
  EXPECT_EQ(calls, 1);
  std::vector<Content> chosen;
  for (const CollectedPair& pair : kept.pairs) chosen.push_back(pair.pair.chosen);
  EXPECT_EQ(chosen, (std::vector<Content>{" unsure", " wrong", " uneven"}));
  EXPECT_EQ(kept.known, (std::map<std::string, std::int64_t>{{"a", 1}, {"b", 1}, {"t", 1}}));
  EXPECT_EQ(kept.not_scored, 1);
}

}  // namespace
}  // namespace metarm
