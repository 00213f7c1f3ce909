// What a kill and a full disk do to the shift log.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "metarm/base/random.h"
#include "metarm/base/wall_clock.h"
#include "metarm/shift/shift_log.h"
#include "tests/shift/child.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

using namespace std::chrono_literals;
using Id = std::pair<int, int>;  // life, thread

ShiftLogOptions options_for(const std::string& path) {
  ShiftLogOptions options;
  options.path = path;
  options.rows_per_s = 1e6;
  return options;
}

ScoredResponse row_of(int life, int thread, int n) {
  const std::string padding(RandomStream(7, "padding", static_cast<std::uint64_t>(n)).below(2000), 'x');
  return {fmt::format("prompt {}", n % 50), fmt::format("{} {} {} {}", life, thread, n, padding), n + 0.5, "v1", seconds_since_1970(), n};
}

// Four threads add rows, and say of each tenth one when it is acknowledged.
int write_until_killed(const std::string& path, int life, int output) {
  const std::unique_ptr<Log> quiet = make_null_log();
  ShiftLog log(options_for(path), *quiet);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&, thread] {
      for (int n = 0;; ++n) {
        const std::uint64_t ticket = log.add(row_of(life, thread, n));
        if (n % 10 != 9) continue;
        if (ticket == 0 || !log.wait(ticket, 30s)) _exit(1);
        const std::string said = fmt::format("{} {} {}\n", life, thread, n);
        if (write(output, said.data(), said.size()) < 0) _exit(1);
      }
    });
  for (std::thread& thread : threads) thread.join();
  return 0;
}

void take_acknowledged(const std::string& said, std::map<Id, int>& last) {
  std::istringstream lines(said);
  for (int life, thread, n; lines >> life >> thread >> n;) last[{life, thread}] = std::max(n, last[{life, thread}]);
}

// Reads what the file holds, and says what is missing or wrong.
std::string find_missing(const std::string& path, const std::map<Id, int>& last) {
  Database database(path, Database::Access::read);
  database.check_whole();
  Statement rows(database, "SELECT r.text, r.reward, p.text FROM responses r JOIN prompts p ON p.id = r.prompt");
  std::map<Id, std::set<int>> found;
  while (rows.step()) {
    std::istringstream text(rows.bytes(0).substr(1));
    int life = 0, thread = 0, n = 0;
    text >> life >> thread >> n;
    const ScoredResponse expected = row_of(life, thread, n);
    if (rows.bytes(0) != "\"" + std::get<std::string>(expected.response) + "\"" || rows.real(1) != expected.reward ||
        rows.bytes(2) != "\"" + std::get<std::string>(expected.prompt) + "\"")
      return fmt::format("row {} {} {} is not what was written", life, thread, n);
    if (!found[{life, thread}].insert(n).second) return fmt::format("row {} {} {} is there twice", life, thread, n);
  }
  for (const auto& [id, n] : last)
    for (int i = 0; i <= n; ++i)
      if (!found[id].contains(i)) return fmt::format("row {} {} {} of {} acknowledged is missing", id.first, id.second, i, n);
  return "";
}

TEST(ShiftLogFaults, AcknowledgedRowsSurviveAKill) {
  const TemporaryFolder folder;
  const std::string path = folder / "log.db";
  std::map<Id, int> last;
  RandomStream random(3, "kill times");
  for (int life = 0; life < 25; ++life) {
    Child child([&](int output) { return write_until_killed(path, life, output); });
    std::string said;
    if (life % 5 != 4) said = child.read_some();  // every fifth may be killed while it opens the file
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(40'000)));
    child.kill();
    take_acknowledged(said + child.read_all(), last);
    const std::unique_ptr<Log> quiet = make_null_log();
    const ShiftLog reopened(options_for(path), *quiet);
    EXPECT_TRUE(reopened.state().moved_aside.empty()) << reopened.state().moved_aside.front();
    ASSERT_EQ(find_missing(path, last), "") << "after kill " << life;
  }
  EXPECT_GE(last.size(), 20U);  // there was something to lose
}

// Adds rows while nothing can be written, then makes space: all that was accepted must arrive.
int fill_and_recover(const ShiftLogOptions& options, const std::function<void()>& make_full, const std::function<void()>& make_space) {
  const std::unique_ptr<Log> quiet = make_null_log();
  ShiftLog log(options, *quiet);
  const std::uint64_t before = log.add(row_of(0, 0, 0));
  if (before == 0 || !log.wait(before, 30s)) return 1;
  make_full();
  int n = 1;
  for (; log.state().error.empty(); ++n) {
    if (n > 1'000'000) return 2;  // no error was ever seen
    log.add(row_of(0, 0, n));
    std::this_thread::sleep_for(100us);
  }
  const std::string error = log.state().error;
  if (error.find(options.path + ": expected to ") != 0) return 3;
  for (const int end = n + 3 * static_cast<int>(options.queue_rows); n < end; ++n) log.add(row_of(0, 0, n));
  const ShiftLogState full = log.state();
  if (full.dropped < options.queue_rows || full.error.empty()) return 4;
  make_space();
  if (!log.wait(static_cast<std::uint64_t>(full.accepted), 30s)) return 5;
  const ShiftLogState after = log.state();
  if (!after.error.empty() || after.rows != after.accepted || after.accepted + after.dropped != after.offered) return 6;
  std::fprintf(stderr, "%s\n", error.c_str());
  return find_missing(options.path, {{{0, 0}, 0}}).empty() ? 0 : 7;
}

TEST(ShiftLogFaults, AFullDiskIsAnErrorThatEnds) {
  const TemporaryFolder folder;
  Child child([&](int) {
    signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    const auto set = [&](rlim_t bytes) {
      rlimit other = limit;
      other.rlim_cur = bytes;
      setrlimit(RLIMIT_FSIZE, &other);
    };
    ShiftLogOptions options = options_for(folder / "log.db");
    options.queue_rows = 200;
    return fill_and_recover(
        options, [&] { set(300'000); }, [&] { set(limit.rlim_cur); });
  });
  EXPECT_EQ(child.wait(), 0);
}

TEST(ShiftLogFaults, AFullFileSystemIsAnErrorThatEnds) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small file system takes root";
  const TemporaryFolder folder;
  Child child([&](int) {
    if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=4m") != 0)
      return 42;
    ShiftLogOptions options = options_for(folder / "log.db");
    options.queue_rows = 200;
    const std::string filler = folder / "filler";
    const auto fill = [&] { std::ofstream(filler) << std::string(8 << 20, 'f'); };
    return fill_and_recover(options, fill, [&] { unlink(filler.c_str()); });
  });
  const int code = child.wait();
  if (code == 42) GTEST_SKIP() << "no file system may be mounted here";
  EXPECT_EQ(code, 0);
}

}  // namespace
}  // namespace metarm
