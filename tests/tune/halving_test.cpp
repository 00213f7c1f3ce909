#include "metarm/tune/halving.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace metarm {
namespace {

using Numbers = std::vector<std::int64_t>;

TEST(Halving, RungsOfTheirPlan) {
  const std::vector<Rung> rungs = plan_rungs(27, 4, 3, 0);
  ASSERT_EQ(rungs.size(), 4U);
  EXPECT_EQ(rungs[1].trials, 9);
  EXPECT_EQ(rungs[1].steps, 12);
  EXPECT_EQ(rungs[3].trials, 1);
  EXPECT_EQ(rungs[3].steps, 108);
  EXPECT_EQ(total_steps(rungs), 27 * 4 + 9 * 8 + 3 * 24 + 1 * 72);
  EXPECT_EQ(plan_rungs(27, 4, 3, 2).size(), 2U);
  EXPECT_EQ(plan_rungs(11, 1, 3, 0).back().trials, 1);  // 11, 3, 1
  EXPECT_EQ(plan_rungs(2, 5, 3, 0).size(), 1U);
}

TEST(Halving, PlansThatCannotBe) {
  EXPECT_EQ(error_of([] { plan_rungs(9, 1, 3, 4); }), "tune: --rungs: expected at most 3 for 9 trials of which one in 3 goes on, got 4");
  EXPECT_NE(error_of([] { plan_rungs(1'000'000, 1'000'000'000'000, 2, 0); }).find("--min-steps"), std::string::npos);
}

TEST(Halving, TheBestGoOn) {
  const std::vector<RungResult> results = {{1, 0.5}, {2, 0.9}, {3, {}}, {4, 0.1}, {5, 0.9}};
  EXPECT_EQ(choose_best(results, Goal::maximise, 2), (Numbers{2, 5}));
  EXPECT_EQ(choose_best(results, Goal::maximise, 1), (Numbers{2}));  // of equal ones, the first
  EXPECT_EQ(choose_best(results, Goal::minimise, 2), (Numbers{1, 4}));
  EXPECT_EQ(choose_best(results, Goal::maximise, 5), (Numbers{1, 2, 4, 5}));  // never one that failed
}

TEST(Halving, AFailedTrialIsTheWorst) {
  for (const Goal goal : {Goal::maximise, Goal::minimise}) {
    std::vector<RungResult> results = {{1, {}}, {2, -1e300}, {3, 1e300}};
    sort_by_figure(results, goal);
    EXPECT_EQ(results[0].trial, goal == Goal::maximise ? 3 : 2);
    EXPECT_EQ(results[2].trial, 1);
  }
}

}  // namespace
}  // namespace metarm
