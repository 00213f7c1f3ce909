#include "metarm/base/child_process.h"

#include <gtest/gtest.h>

#include "metarm/base/file.h"
#include "metarm/base/stopwatch.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

std::vector<std::string> shell(const std::string& line) { return {"/bin/sh", "-c", line}; }

TEST(ChildProcess, GivesItsOutputAndItsExitCode) {
  const FinishedProcess well = run_process(shell("printf 'a\nb'"));
  EXPECT_EQ(well.standard_out, "a\nb");
  EXPECT_EQ(well.exit_code, 0);
  EXPECT_EQ(run_process(shell("exit 7")).exit_code, 7);
  EXPECT_EQ(run_process(shell("kill -9 $$")).exit_code, 137);
  EXPECT_EQ(run_process({"there-is-no-such-program"}).exit_code, 127);
}

TEST(ChildProcess, GivesAllOfALongOutput) {
  EXPECT_EQ(run_process(shell("head -c 300000 /dev/zero | tr '\\0' x")).standard_out, std::string(300000, 'x'));
}

TEST(ChildProcess, InTheBackgroundItIsNiceAndTheFirstToGo) {
  const FinishedProcess finished = run_process(shell("nice; cat /proc/self/oom_score_adj"), {.niceness = 5});
  const FinishedProcess mine = run_process(shell("nice"));
  EXPECT_EQ(finished.standard_out, std::to_string(std::min(19, std::stoi(mine.standard_out) + 5)) + "\n1000\n");
  EXPECT_FALSE(finished.killed);
}

TEST(ChildProcess, IsKilledWithItsChildrenWhenItsTimeIsOver) {
  const Stopwatch stopwatch;
  const FinishedProcess finished = run_process(shell("sleep 60 & sleep 60; echo done"), {.seconds = 0.3});
  EXPECT_TRUE(finished.killed);
  EXPECT_EQ(finished.exit_code, 137);
  EXPECT_EQ(finished.standard_out, "");
  EXPECT_LT(stopwatch.seconds(), 30);
}

TEST(ChildProcess, IsKilledWhenItIsCalledOff) {
  int asked = 0;
  const FinishedProcess finished = run_process(shell("sleep 60"), {.cancelled = [&] { return ++asked > 2; }});
  EXPECT_TRUE(finished.killed);
}

TEST(ChildProcess, ErrorsGoToAFile) {
  const TemporaryFolder folder;
  run_process(shell("echo wrong >&2"), {.errors_to = folder / "errors"});
  EXPECT_EQ(read_file(folder / "errors"), "wrong\n");
}

}  // namespace
}  // namespace metarm
