#include "metarm/eval/win_rates.h"

#include <gtest/gtest.h>

#include "metarm/eval/judge_prompt.h"

namespace metarm {
namespace {

using enum Outcome;

TEST(WinRates, EachPromptCountsOnce) {
  const std::vector<std::vector<Outcome>> outcomes = {{win, win, win, win}, {lose}, {tie, win}};
  const WinRates rates = win_rates(outcomes, 0, 100);
  EXPECT_EQ(rates.prompts, 3);
  EXPECT_EQ(rates.comparisons, 7);
  EXPECT_NEAR(rates.win.value, 1.5 / 3, 1e-12);
  EXPECT_NEAR(rates.tie.value, 0.5 / 3, 1e-12);
  EXPECT_NEAR(rates.lose.value, 1.0 / 3, 1e-12);
  EXPECT_NEAR(rates.net.value, 0.5 / 3, 1e-12);
}

TEST(WinRates, IntervalsCoverAsTheNormalLimitSays) {  // 1.96 sqrt(.25 / 400) = 0.049
  std::vector<std::vector<Outcome>> outcomes(200, {win});
  outcomes.resize(400, {lose});
  const WinRates rates = win_rates(outcomes, 1, 4000);
  EXPECT_NEAR(rates.win.interval.low, 0.451, 0.004);
  EXPECT_NEAR(rates.win.interval.high, 0.549, 0.004);
  EXPECT_NEAR(rates.net.interval.low, -0.098, 0.008);
  EXPECT_EQ(rates.tie.interval.high, 0);
  EXPECT_EQ(win_rates(outcomes, 1, 4000).win.interval.low, rates.win.interval.low);
  EXPECT_NE(win_rates(outcomes, 2, 4000).net.interval.low + win_rates(outcomes, 2, 4000).net.interval.high,
            rates.net.interval.low + rates.net.interval.high);
  EXPECT_EQ(win_rates({}, 0, 10).prompts, 0);
}

TEST(WinRates, WholePercentsAddUp) {
  const auto percents = [](std::vector<Outcome> outcomes) {
    std::vector<std::vector<Outcome>> by_prompt;
    for (const Outcome outcome : outcomes) by_prompt.push_back({outcome});
    return whole_percents(win_rates(by_prompt, 0, 1));
  };
  EXPECT_EQ(percents({win, tie, lose}), (std::array{34, 33, 33}));
  EXPECT_EQ(percents({win, win, lose}), (std::array{67, 0, 33}));
  EXPECT_EQ(percents({tie}), (std::array{0, 100, 0}));
  EXPECT_EQ(percents({win, win, win, lose, lose, lose, tie}), (std::array{43, 14, 43}));
}

TEST(WinRates, TheTable) {
  const std::vector<std::vector<Outcome>> outcomes = {{win}, {win}, {win}};
  const std::string table = to_table({{"a long subset", win_rates(outcomes, 0, 10)}, {"all", win_rates(outcomes, 0, 10)}});
  EXPECT_EQ(table.substr(table.rfind('\n')),
            "\n| all           |      100/0/0 | 100.0 [100.0, 100.0] |      0.0 [0.0, 0.0] |      0.0 [0.0, 0.0] | 100.0 [100.0, 100.0] |  "
            "     3 |");
}

TEST(JudgePrompt, TheLastVerdictCounts) {
  EXPECT_EQ(parse_verdict("[[1]]"), Verdict::first);
  EXPECT_EQ(parse_verdict("Not [[1]] but\n[[2]]"), Verdict::second);
  EXPECT_EQ(parse_verdict("[[2]] or [[1]]? [[tie]]."), Verdict::tie);
  EXPECT_EQ(parse_verdict("[[tie]] ... no: [[1]]"), Verdict::first);
  for (const char* none : {"", "[1]", "[[3]]", "1", "[[TIE"}) EXPECT_FALSE(parse_verdict(none)) << none;
}

}  // namespace
}  // namespace metarm
