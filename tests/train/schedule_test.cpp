#include "metarm/train/schedule.h"

#include <gtest/gtest.h>

namespace metarm {
namespace {

TEST(Schedule, KnownValues) {
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::constant, 2.0, 0, 7, 10), 2.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::linear, 2.0, 0, 0, 10), 2.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::linear, 2.0, 0, 5, 10), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::cosine, 2.0, 0, 5, 10), 1.0);
}

TEST(Schedule, WarmUpRisesToTheLearningRate) {
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::linear, 1.0, 0.4, 0, 10), 0.25);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::linear, 1.0, 0.4, 3, 10), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::linear, 1.0, 0.4, 4, 10), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::linear, 1.0, 0.4, 7, 10), 0.5);
  EXPECT_DOUBLE_EQ(scheduled_lr(ScheduleKind::constant, 1.0, 1.0, 9, 10), 1.0);
}

}  // namespace
}  // namespace metarm
