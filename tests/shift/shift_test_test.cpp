#include "metarm/shift/shift_test.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "metarm/base/error.h"
#include "tests/shift/shift_simulation.h"

namespace metarm {
namespace {

// The least c with P(X > c) < 0.001 for X binomial: what a rate of `probability` would hardly ever pass.
std::int64_t binomial_limit(std::int64_t trials, double probability) {
  double log_term = static_cast<double>(trials) * std::log1p(-probability), above = 1;
  for (std::int64_t c = 0;; ++c) {
    above -= std::exp(log_term);
    if (above < 0.001) return c;
    log_term += std::log(static_cast<double>(trials - c) / static_cast<double>(c + 1) * probability / (1 - probability));
  }
}

std::int64_t count_alarms(const std::vector<std::int64_t>& alarms) {
  return std::count_if(alarms.begin(), alarms.end(), [](std::int64_t at) { return at >= 0; });
}

std::int64_t median(std::vector<std::int64_t> alarms) {
  for (std::int64_t& at : alarms)
    if (at < 0) at = 1'000'000;
  std::nth_element(alarms.begin(), alarms.begin() + static_cast<std::ptrdiff_t>(alarms.size() / 2), alarms.end());
  return alarms[alarms.size() / 2];
}

constexpr std::int64_t kStreams = 400;
constexpr double kAlpha = 0.05;  // more false alarms to count than with the default

TEST(ShiftTestRates, FalseAlarmsStayBelowAlpha) {
  const std::int64_t limit = binomial_limit(kStreams, kAlpha);
  EXPECT_EQ(limit, 35);
  EXPECT_LE(count_alarms(simulate_alarms({.alpha = kAlpha}, kStreams)), limit);
  EXPECT_LE(count_alarms(simulate_alarms({.rounding = 0.5, .alpha = kAlpha}, kStreams)), limit) << "with ties";
  EXPECT_LE(count_alarms(simulate_alarms({.reference = 20, .alpha = kAlpha}, kStreams)), limit) << "with a small reference";
}

// Prompts that come again are the dependence that one value a prompt does not take away.
TEST(ShiftTestRates, FalseAlarmsStayBelowAlphaWherePromptsComeAgain) {
  const SimulatedStream again = {.reference = 300, .prompts = 3000, .prompt_set = 600, .remembered = 300, .alpha = kAlpha};
  EXPECT_LE(count_alarms(simulate_alarms(again, kStreams)), binomial_limit(kStreams, kAlpha));
}

TEST(ShiftTestRates, FindsShifts) {
  const SimulatedStream bunched = {.spread = 0.6};
  const SimulatedStream later = {.prompts = 4000, .change_at = 1000, .spread = 0.5};
  const SimulatedStream raised = {.shift = 1};
  for (const SimulatedStream& stream : {bunched, later, raised}) {
    const std::vector<std::int64_t> alarms = simulate_alarms(stream, 40);
    EXPECT_GE(count_alarms(alarms), 36) << stream.spread << " " << stream.shift;
    EXPECT_GE(median(alarms), stream.change_at);
    EXPECT_LE(median(alarms), stream.change_at + 700) << stream.spread << " " << stream.shift;
  }
}

TEST(ShiftTest, TakesOneValueOfEachPrompt) {
  ShiftTest test({{1, 2}, {0}}, {.near_tie = 0.5});
  test.add(1, 10, 3);
  test.add(2, 10, 5);
  EXPECT_EQ(test.state().differences.period, 0);
  test.add(1, 11, 3.25);
  test.add(1, 12, 100);
  test.add(2, 13, 9);
  const ShiftState state = test.state();
  EXPECT_EQ(state.rewards.period, 2);
  EXPECT_EQ(state.rewards.window_mean, 4);
  EXPECT_EQ(state.differences.period, 2);
  EXPECT_EQ(state.differences.window_mean, (0.25 + 4) / 2);
  EXPECT_EQ(state.differences.reference_mean, 1.5);
  EXPECT_EQ(state.reference_near_ties, 0);
  EXPECT_EQ(state.window_near_ties, 0.5);
}

TEST(ShiftTest, APolicyThatRepeatsItselfHasShifted) {
  ShiftTest test(100, {});
  RandomStream random(3, "repeats");
  std::uint64_t prompt = 0;
  for (; prompt < 200; ++prompt)
    for (std::uint64_t k = 0; k < 2; ++k) test.add(prompt, k, static_cast<float>(random.normal()));
  EXPECT_EQ(test.groups(), 200);
  EXPECT_FALSE(test.state().alarm);
  for (; prompt < 300 && !test.state().alarm; ++prompt) {
    const auto reward = static_cast<float>(random.normal());
    test.add(prompt, 7, reward);
    test.add(prompt, 7, reward + 1e-6f);  // the same text in another batch
  }
  EXPECT_LT(prompt, 260u);
  EXPECT_EQ(test.groups(), 200) << "nothing to align to in those";
  test.add(299, 7, 0);
  test.add(299, 7, 0);
  test.add(299, 8, 1);
  test.add(299, 9, 1);
  EXPECT_EQ(test.groups(), 201) << "a third response that differs makes a group";
  EXPECT_GT(test.state().window_near_ties, 0.1);
}

TEST(ShiftTest, APromptCountsAgainAfterManyOthers) {
  ShiftTest test({}, {.remembered_prompts = 3});
  for (std::uint64_t prompt : {1, 2, 3, 1, 4, 1}) test.add(prompt, 1, 0);  // 1 is forgotten when 4 comes
  EXPECT_EQ(test.state().rewards.period, 5);
}

TEST(ShiftTest, AnAlarmStaysAndIsTheSameEachTime) {
  const auto run = [] {
    ShiftTest test({{}, std::vector<double>(500, 0.0)}, {});
    int alarms = 0;
    std::int64_t at = -1;
    for (std::int64_t n = 0; n < 200; ++n)
      if (test.add(static_cast<std::uint64_t>(n), 1, 1)) {
        ++alarms;
        at = n;
      }
    EXPECT_EQ(alarms, 1);
    EXPECT_TRUE(test.state().alarm);
    EXPECT_EQ(test.state().rewards.distance, 1);
    EXPECT_GE(test.state().rewards.log10_evidence, test.state().log10_threshold);
    return at;
  };
  EXPECT_EQ(run(), run());
  EXPECT_GT(run(), 5);  // 1/200 of luck is not had sooner: a bet at most doubles
}

TEST(ShiftTest, BeginsAnewAfterAPeriod) {
  ShiftTest test({{}, {0.1, 0.2, 0.3}}, {.period_prompts = 10});
  RandomStream random(1, "test");
  for (std::uint64_t n = 0; n < 25; ++n) test.add(n, 1, static_cast<float>(random.uniform()));
  EXPECT_EQ(test.state().periods, 2);
  EXPECT_EQ(test.state().rewards.period, 5);
  EXPECT_EQ(test.state().rewards.window, 25);
}

TEST(ShiftTest, RefusesARewardThatIsNoNumber) { EXPECT_THROW(ShiftTest({}, {}).add(1, 1, std::nanf("")), Error); }

TEST(ShiftReference, FollowsTheStreamsRule) {
  const std::vector<std::vector<float>> groups = {{1, 4, 9}, {2}, {}, {5, 3}};
  const ShiftReference reference = shift_reference(groups);
  EXPECT_EQ(reference.differences, (std::vector<double>{3, 2}));
  EXPECT_EQ(reference.rewards, (std::vector<double>{1, 2, 5}));
}

TEST(KolmogorovDistance, ByHand) {
  const std::vector<double> reference = {1, 2, 3, 4};
  EXPECT_EQ(kolmogorov_distance(reference, {4, 1, 3, 2}), 0);
  EXPECT_EQ(kolmogorov_distance(reference, {9}), 1);
  EXPECT_EQ(kolmogorov_distance(reference, {0}), 1);
  EXPECT_EQ(kolmogorov_distance(reference, {2.5, 3.5}), 0.5);
  EXPECT_EQ(kolmogorov_distance(reference, {2, 2, 2}), 0.5);
  EXPECT_EQ(kolmogorov_distance(reference, {}), 0);
}

// A martingale by its definition: given any past, the expected capital after a uniform number is the capital before. Simpson's rule is
// exact for the bets' polynomials.
TEST(JumperMartingale, IsAFairGame) {
  JumperMartingale martingale;
  RandomStream random(5, "fair game");
  for (int n = 0; n < 200; ++n) {
    const auto after = [&](double u) {
      JumperMartingale next = martingale;
      next.add(u);
      return std::exp(next.log_capital() - martingale.log_capital());
    };
    EXPECT_NEAR((after(0) + 4 * after(0.5) + after(1)) / 6, 1, 1e-12);
    martingale.add(std::sqrt(random.uniform()));
  }
  EXPECT_GT(martingale.log_capital(), std::log(200));  // the numbers were not uniform
}

TEST(JumperMartingale, NeverLosesMoreThanItsReserve) {
  JumperMartingale martingale;
  for (int n = 1; n <= 10'000; ++n) {
    martingale.add(n % 2 == 0 ? 0.2 : 0.8);  // neither larger nor further out
    ASSERT_GE(martingale.log_capital(), -std::log(n + 1) - 1e-9);
  }
}

}  // namespace
}  // namespace metarm
