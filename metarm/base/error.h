// The one exception type of metarm. Its kind says whose fault it is and so decides exit code and HTTP status.
//
//   kind        whose                                     exit  HTTP
//   input       the user's, to be fixed                    2    400, 422
//   io          disk, network, memory                      3    503
//   resumption  the user's: --resume of a run that began   4
//               with other options or rows
//   internal    a bug                                     70    500
//
// A program that runs trainings (tune/trial_command) tells by exit code 4 what is nobody's training that failed.
//
// Messages read `where: expected X, got Y; hint`, on one line.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace metarm {

enum class ErrorKind { input, io, resumption, internal };

int exit_code(ErrorKind kind);

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind() const { return kind_; }

 private:
  ErrorKind kind_;
};

template <class... Args>
[[noreturn]] void fail_input(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::input, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail_io(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::io, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail_resumption(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::resumption, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
[[noreturn]] void fail_internal(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorKind::internal, fmt::format(format, std::forward<Args>(args)...));
}

// Runs `body`; an Error that leaves it gets `where: ` in front of its message.
template <class Body>
decltype(auto) with_context(std::string_view where, Body&& body) {
  try {
    return std::forward<Body>(body)();
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: {}", where, error.what()));
  }
}

}  // namespace metarm
