#include "metarm/train/run_directory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

namespace fs = std::filesystem;

struct RunOptions {
  double lr = 0.5;
  std::int64_t threads = 1;
  bool resume = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.lr, {.name = "lr", .help = "A rate."});
    visit(self.threads, {.name = "threads", .help = "How many."});
    visit(self.resume, {.name = "resume", .help = "Whether."});
  }
};

void fill(const std::string& folder) { write_file(folder + "/weights", "w"); }

std::vector<std::int64_t> steps_of(const std::string& folder) {
  std::vector<std::int64_t> steps;
  for_each_row({folder + "/metrics.jsonl"}, BadRows::stop,
               [&](const JsonRow& row) { steps.push_back(row.value["step"].get<std::int64_t>()); });
  return steps;
}

TEST(RunDirectory, NewRunNeedsAnEmptyFolder) {
  TemporaryFolder folder;
  fs::create_directory(folder / "run");
  RunDirectory(folder / "run", "train", list_fields(RunOptions{}), false).begin_at(0);
  EXPECT_THROW(RunDirectory(folder / "run", "train", list_fields(RunOptions{}), false), Error);
}

TEST(RunDirectory, NothingIsWrittenBeforeTheRunBegins) {
  TemporaryFolder folder;
  RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(RunDirectory, ResumingDropsWhatCameAfterTheCheckpoint) {
  TemporaryFolder folder;
  {
    RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
    run.begin_at(0);
    for (std::int64_t step = 1; step <= 3; ++step) run.record(step, {{"loss", 1.0}});
    run.save_checkpoint(3, fill);
    for (std::int64_t step = 4; step <= 6; ++step) run.record(step, {{"loss", 1.0}});
  }
  RunDirectory resumed(folder / "run", "train", list_fields(RunOptions{.threads = 8, .resume = true}), true);
  EXPECT_EQ(resumed.last_checkpoint(), 3);
  EXPECT_FALSE(resumed.finished());
  resumed.begin_at(3);
  resumed.record(4, {{"loss", 2.0}});
  EXPECT_EQ(steps_of(folder / "run"), (std::vector<std::int64_t>{1, 2, 3, 4}));
}

TEST(RunDirectory, ResumingWithOtherOptionsNamesThem) {
  TemporaryFolder folder;
  RunDirectory(folder / "run", "train", list_fields(RunOptions{}), false).begin_at(0);
  try {
    RunDirectory(folder / "run", "train", list_fields(RunOptions{.lr = 0.25, .resume = true}), true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(exit_code(error.kind()), 4);
    EXPECT_NE(std::string(error.what()).find("lr"), std::string::npos) << error.what();
  }
}

TEST(RunDirectory, ResumingIsOfTheSameCommand) {
  TemporaryFolder folder;
  RunDirectory(folder / "run", "train", list_fields(RunOptions{}), false).begin_at(0);
  write_file(folder / "run/config.json", "{}");
  try {
    RunDirectory(folder / "run", "align", list_fields(RunOptions{.resume = true}), true);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::resumption);
    EXPECT_NE(std::string(error.what()).find("expected to go on with train, which began the run, got align"), std::string::npos)
        << error.what();
  }
}

TEST(RunDirectory, ModelsAndAdaptersAreFinishedByTheirLastFile) {
  for (const char* last : {"config.json", "adapter_config.json"}) {
    TemporaryFolder folder;
    RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
    run.begin_at(0);
    EXPECT_FALSE(run.finished());
    write_file(folder / "run/" + last, "{}");
    EXPECT_TRUE(run.finished()) << last;
  }
}

TEST(RunDirectory, LeftoversOfAKilledProcessGo) {
  TemporaryFolder folder;
  fs::create_directory(folder / "run");
  write_file(folder / "run/config.toml.tmp-12-0", "half");
  RunDirectory(folder / "run", "train", list_fields(RunOptions{}), false);  // not a run yet
  RunDirectory run(folder / "run", "train", list_fields(RunOptions{.resume = true}), true);
  run.begin_at(0);
  EXPECT_FALSE(fs::exists(folder / "run/config.toml.tmp-12-0"));
  write_file(folder / "run/model.safetensors.tmp-34-5", "half");
  write_file(folder / "run/notes.txt", "the user's");
  for (const char* name : {"step-3.tmp-34-6", "best", "step-3-copy"}) fs::create_directories(folder / "run/checkpoints/" + name);
  RunDirectory(folder / "run", "train", list_fields(RunOptions{.resume = true}), true).begin_at(0);
  EXPECT_FALSE(fs::exists(folder / "run/model.safetensors.tmp-34-5"));
  EXPECT_TRUE(fs::exists(folder / "run/notes.txt"));
  EXPECT_FALSE(fs::exists(folder / "run/checkpoints/step-3.tmp-34-6"));
  EXPECT_TRUE(fs::exists(folder / "run/checkpoints/best")) << "the user's too";
  EXPECT_TRUE(fs::exists(folder / "run/checkpoints/step-3-copy"));
}

TEST(RunDirectory, ResumingIsOnTheSameData) {
  const Json pairs = {{"rows", 3}, {"hash", "ab"}}, others = {{"rows", 3}, {"hash", "cd"}}, more = {{"rows", 4}, {"hash", "ab"}};
  TemporaryFolder folder;
  RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
  run.expect_data({{"pairs", pairs}});
  run.begin_at(0);
  const auto message = [&](const Json& now) -> std::string {
    try {
      RunDirectory(folder / "run", "train", list_fields(RunOptions{.resume = true}), true).expect_data({{"pairs", now}});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::resumption);
      return error.what();
    }
    return "none";
  };
  EXPECT_EQ(message(pairs), "none");
  EXPECT_NE(message(others).find("data.json: pairs: expected the 3 rows with which the run began, got as many others"), std::string::npos);
  EXPECT_NE(message(more).find("pairs: expected the 3 rows with which the run began, got 4"), std::string::npos);
}

TEST(RunDirectory, SkippedStepsAreCountedOverAKill) {
  TemporaryFolder folder;
  {
    RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
    run.begin_at(0);
    run.record(1, {{"skipped", 1}});
    run.record(2, {{"loss", 1.0}});
    run.record(3, {{"skipped", 1}});
  }
  RunDirectory run(folder / "run", "train", list_fields(RunOptions{.resume = true}), true);
  run.begin_at(2);
  EXPECT_EQ(run.skipped_steps(), 1);
  run.record(3, {{"skipped", 1}});
  EXPECT_EQ(run.skipped_steps(), 2);
}

TEST(RunDirectory, KeepsTheLastCheckpoints) {
  TemporaryFolder folder;
  RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
  run.begin_at(0);
  for (const std::int64_t step : {8, 9, 10, 11}) run.save_checkpoint(step, fill);
  run.remove_old_checkpoints(10, 2, 0);
  EXPECT_EQ(run.last_checkpoint(), 11);
  EXPECT_EQ(run.last_checkpoint(10), 10);
  EXPECT_EQ(run.last_checkpoint(8), std::nullopt);
  EXPECT_TRUE(fs::exists(run.checkpoint_path(9)));
  run.remove_old_checkpoints(11, 0, 0);
  EXPECT_TRUE(fs::exists(run.checkpoint_path(9)));
  run.remove_old_checkpoints(11, 1, 9);
  EXPECT_EQ(run.last_checkpoint(10), 9) << "the best one stays";
  run.remove_old_checkpoints(11, 1, 0);
  EXPECT_EQ(run.last_checkpoint(10), std::nullopt);
}

TEST(RunDirectory, AFailedCheckpointLeavesTheLastOne) {
  TemporaryFolder folder;
  RunDirectory run(folder / "run", "train", list_fields(RunOptions{}), false);
  run.begin_at(0);
  run.save_checkpoint(1, fill);
  EXPECT_THROW(run.save_checkpoint(2, [](const std::string&) { fail_io("disk full"); }), Error);
  EXPECT_EQ(run.last_checkpoint(), 1);
}

}  // namespace
}  // namespace metarm
