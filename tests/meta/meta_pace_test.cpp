// How far a mode's meta step goes and in which turns it is taken, against what the rules give by hand.
#include "metarm/meta/meta_pace.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>
#include <vector>

namespace metarm {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
const double kDoubles = std::numbers::ln2;  // a cosine that doubles or halves where --meta-adapt is 1

AlignOptions options(MetaAdaptTarget target, double adapt, double backoff = 1) {
  AlignOptions options;
  options.meta_lr = 0.1;
  options.meta_adapt = adapt;
  options.meta_backoff = backoff;
  options.meta_adapt_target = target;
  options.max_meta_interval = 4;
  return options;
}

// Takes turns, each meta step with the cosine given; "1" for a meta step, "0" for a turn without.
std::string take(MetaPace& pace, std::int64_t first, std::int64_t count, double agreement) {
  std::string taken;
  for (std::int64_t step = first; step < first + count; ++step) {
    const MetaPace::Turn turn = pace.turn(step);
    taken += turn.is_due ? '1' : '0';
    pace.end(turn, turn.is_due ? agreement : kNaN);
  }
  return taken;
}

TEST(MetaPace, WithoutAnythingThatMovesEveryTurnIsAMetaStep) {
  MetaPace pace(options(MetaAdaptTarget::both, 0), 3);
  EXPECT_EQ(take(pace, 0, 6, 1), "111111");
  const MetaPace::Turn turn = pace.turn(7);
  EXPECT_EQ(turn.mode, 0U);
  EXPECT_EQ(turn.order_step, 7);
  EXPECT_EQ(turn.meta_steps, 7);
  EXPECT_EQ(pace.meta_lr(0), 0.1);
  EXPECT_TRUE(pace.numbers().empty());
  EXPECT_EQ(pace.figures(turn), Json::object());
}

TEST(MetaPace, TheIntervalDoublesUpToItsBoundAndComesBack) {
  MetaPace pace(options(MetaAdaptTarget::interval, 1), 1);
  // n = 2 after the first, 4 after the second, and no more.
  EXPECT_EQ(take(pace, 0, 15, kDoubles), "101000100010001");
  EXPECT_DOUBLE_EQ(pace.figures(pace.turn(15))["meta_interval"].get<double>(), 4);
  // The last one left four turns: n halves in steps 18, 20 and 21.
  EXPECT_EQ(take(pace, 15, 10, -kDoubles), "0001011111");
  EXPECT_DOUBLE_EQ(pace.figures(pace.turn(25))["meta_interval"].get<double>(), 1);
  EXPECT_EQ(pace.meta_lr(0), 0.1);
  EXPECT_FALSE(pace.figures(pace.turn(25)).contains("meta_lr"));
}

TEST(MetaPace, AnIntervalOfOneAndAHalfIsTwoTurnsOfThree) {
  MetaPace pace(options(MetaAdaptTarget::interval, 1), 1);
  std::string taken = take(pace, 0, 1, std::log(1.5));
  taken += take(pace, 1, 299, 0);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(taken, '1')), 200, 1);
  EXPECT_EQ(taken.find("111"), std::string::npos);
  EXPECT_EQ(taken.find("00"), std::string::npos);
}

TEST(MetaPace, BothMove) {
  MetaPace pace(options(MetaAdaptTarget::both, 1), 1);
  EXPECT_EQ(take(pace, 0, 3, kDoubles), "101");
  EXPECT_DOUBLE_EQ(pace.meta_lr(0), 0.025);
  const Json of_a_turn_without = pace.figures(pace.turn(3));
  EXPECT_EQ(of_a_turn_without, (Json{{"meta_interval", of_a_turn_without["meta_interval"]}, {"mode", 0}}));
  EXPECT_EQ(take(pace, 3, 100, kDoubles).find("11"), std::string::npos);
  EXPECT_DOUBLE_EQ(pace.meta_lr(0), 0.01);
}

TEST(MetaPace, ModesHaveTheirOwnAndLeaveNoGroupOut) {
  MetaPace pace(options(MetaAdaptTarget::interval, 1), 2);
  std::vector<std::int64_t> taken;
  for (std::int64_t step = 0; step < 12; ++step) {
    const MetaPace::Turn turn = pace.turn(step);
    EXPECT_EQ(turn.mode, static_cast<std::size_t>(step % 2));
    EXPECT_EQ(turn.meta_steps, std::ssize(taken));
    if (turn.is_due) taken.push_back(turn.order_step);
    pace.end(turn, turn.mode == 0 ? kDoubles : 0);
  }
  // Mode 0 in its turns 0, 2 and 6 (steps 0, 4, 12), mode 1 in all; each goes through the steps of an order of its own, even or odd.
  EXPECT_EQ(taken, (std::vector<std::int64_t>{0, 1, 3, 2, 5, 7, 9, 11}));
}

TEST(MetaPace, BacksOff) {
  MetaPace pace(options(MetaAdaptTarget::both, 0, 0.5), 3);  // without --meta-adapt all groups are one mode
  EXPECT_EQ(take(pace, 0, 3, 1), "111");
  pace.back_off();
  EXPECT_DOUBLE_EQ(pace.meta_lr(0), 0.05);
  EXPECT_EQ(take(pace, 3, 4, 1), "1010");
  for (int i = 0; i < 5; ++i) pace.back_off();
  EXPECT_DOUBLE_EQ(pace.meta_lr(0), 0.01);
  EXPECT_EQ(take(pace, 7, 9, 1), "100010001");
}

TEST(MetaPace, ACosineThatIsNotFiniteChangesNothing) {
  MetaPace pace(options(MetaAdaptTarget::both, 1), 1);
  EXPECT_EQ(take(pace, 0, 4, kNaN), "1111");
  EXPECT_EQ(pace.meta_lr(0), 0.1);
}

TEST(MetaPace, GoesOnFromItsNumbers) {
  MetaPace pace(options(MetaAdaptTarget::both, 1), 2), resumed(options(MetaAdaptTarget::both, 1), 2);
  take(pace, 0, 7, 0.4);
  const auto before = pace.numbers(), after = resumed.numbers();
  ASSERT_EQ(before.size(), 8U);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_EQ(before[i].first, after[i].first);
    *after[i].second = *before[i].second;
  }
  EXPECT_EQ(take(pace, 7, 20, 0.1), take(resumed, 7, 20, 0.1));
  EXPECT_EQ(pace.turn(27).order_step, resumed.turn(27).order_step);
}

}  // namespace
}  // namespace metarm
