#include "metarm/base/log.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <mutex>
#include <utility>

namespace metarm {
namespace {

using Clock = std::chrono::steady_clock;

class NullLog : public Log {
 public:
  void message(LogLevel, const std::string&) override {}
  void progress(std::string_view, std::int64_t, std::int64_t, std::string_view) override {}
};

class ConsoleLog : public Log {
 public:
  explicit ConsoleLog(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}
  ~ConsoleLog() override { end_bar(); }

  void message(LogLevel level, const std::string& text) override {
    if (quiet_ && level == LogLevel::info) return;
    const std::lock_guard lock(mutex_);
    end_bar();
    say(fmt::format("{}{}\n", level == LogLevel::warning ? "warning: " : "", text));
  }

  void progress(std::string_view task, std::int64_t done, std::int64_t total, std::string_view note) override {
    if (quiet_) return;
    const std::lock_guard lock(mutex_);
    if (task_ != task || done < done_) {
      end_bar();
      task_ = task;
      shown_part_ = -1;
    }
    done_ = done;
    if (!is_due(done, total)) return;
    shown_at_ = Clock::now();
    if (terminal_)
      draw_bar(done, total, note);
    else
      say(fmt::format("{}: {}{}\n", task, amount(done, total), note.empty() ? "" : fmt::format("  {}", note)));
  }

 private:
  // Where nobody can be told, as on a full disk, the work goes on.
  static void say(const std::string& text) { std::fwrite(text.data(), 1, text.size(), stderr); }

  static std::string amount(std::int64_t done, std::int64_t total) {
    return total > 0 ? fmt::format("{}/{}", done, total) : fmt::format("{}", done);
  }

  bool is_due(std::int64_t done, std::int64_t total) {
    const auto since = Clock::now() - shown_at_;
    if (terminal_ || total <= 0) {
      const bool first = shown_part_ < 0;
      shown_part_ = 0;
      return first || done == total || since > (terminal_ ? std::chrono::milliseconds(100) : std::chrono::seconds(10));
    }
    const std::int64_t part = done >= total ? 10 : done * 10 / total;
    return std::exchange(shown_part_, part) != part;
  }

  void draw_bar(std::int64_t done, std::int64_t total, std::string_view note) {
    constexpr std::int64_t kWidth = 24;
    const std::int64_t filled = total > 0 ? std::clamp<std::int64_t>(done * kWidth / total, 0, kWidth) : 0;
    fmt::print(stderr, "\r\033[K{} [{:=<{}}{:<{}}] {}  {}", task_, "", filled, "", kWidth - filled, amount(done, total), note);
    std::fflush(stderr);
    bar_open_ = true;
    if (total > 0 && done >= total) end_bar();
  }

  void end_bar() {
    if (bar_open_) fmt::print(stderr, "\n");
    bar_open_ = false;
  }

  const bool quiet_, terminal_;
  std::mutex mutex_;
  std::string task_;
  std::int64_t done_ = 0, shown_part_ = -1;
  Clock::time_point shown_at_;
  bool bar_open_ = false;
};

}  // namespace

std::unique_ptr<Log> make_console_log(bool quiet) { return std::make_unique<ConsoleLog>(quiet); }
std::unique_ptr<Log> make_null_log() { return std::make_unique<NullLog>(); }

}  // namespace metarm
