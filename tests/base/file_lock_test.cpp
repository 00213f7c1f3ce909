#include "metarm/base/file_lock.h"

#include <gtest/gtest.h>

#include <csignal>
#include <optional>

#include "metarm/base/child_process.h"
#include "tests/support/error_of.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

constexpr double kPatience_s = 10;

std::string error_of_lock(const std::string& path) {
  return error_of([&] { FileLock(path, 0); });
}

// One that outlives the shell that starts it. `lock`: passed on to it; null: not.
pid_t start_sleep(const FileLock* lock) {
  const std::vector<std::string> shell = {"/bin/sh", "-c", "sleep 600 > /dev/null 2>&1 & echo $!"};
  return std::stoi((lock != nullptr ? run_process(shell, *lock) : run_process(shell)).standard_out);
}

TEST(FileLock, IsHeldOnceAtATime) {
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  {
    const FileLock lock(path, 0);
    EXPECT_NE(error_of_lock(path).find(path + ": expected no other process at work, got"), std::string::npos);
  }
  EXPECT_EQ(error_of_lock(path), "none");
}

TEST(FileLock, LivesAsLongAsWhoInheritedIt) {
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  std::optional<FileLock> lock(std::in_place, path, 0);
  const pid_t child = start_sleep(&*lock);
  lock.reset();
  EXPECT_NE(error_of_lock(path).find(" (" + std::to_string(child) + "); wait"), std::string::npos);
  kill(child, SIGKILL);
  EXPECT_EQ(error_of([&] { FileLock(path, kPatience_s); }), "none");
}

TEST(FileLock, OtherProcessesDoNotInheritIt) {
  const TemporaryFolder folder;
  const std::string path = folder / "lock";
  std::optional<FileLock> lock(std::in_place, path, 0);
  const pid_t child = start_sleep(nullptr);
  lock.reset();
  EXPECT_EQ(error_of_lock(path), "none");
  kill(child, SIGKILL);
}

}  // namespace
}  // namespace metarm
