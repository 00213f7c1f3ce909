// Where progress and messages for people go. Libraries report through a Log that the caller hands them; they never print.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace metarm {

enum class LogLevel { info, result, warning };  // result: what a command came to

class Log {
 public:
  virtual ~Log() = default;
  virtual void message(LogLevel level, const std::string& text) = 0;
  // Long work: `done` of `total` units (total 0: unknown), with a short note such as the current loss.
  virtual void progress(std::string_view task, std::int64_t done, std::int64_t total, std::string_view note) = 0;

  void info(const std::string& text) { message(LogLevel::info, text); }
  void result(const std::string& text) { message(LogLevel::result, text); }
  void warn(const std::string& text) { message(LogLevel::warning, text); }
};

// To stderr: a progress bar where stderr is a terminal, else a plain line at the first, the last and about every tenth part.
// `quiet` keeps warnings and results only.
std::unique_ptr<Log> make_console_log(bool quiet);
std::unique_ptr<Log> make_null_log();

}  // namespace metarm
