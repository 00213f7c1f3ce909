// --resume was refused: what is in the folder began with other options or rows. An input error that is nobody's training that failed, with
// an exit code of its own, by which a program that runs trainings can tell (tune/trial_command).
#pragma once

#include <string>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

constexpr int kRefusedResumptionExitCode = 4;

class RefusedResumption : public Error {
 public:
  explicit RefusedResumption(const std::string& message) : Error(ErrorKind::input, message) {}
};

template <class... Args>
[[noreturn]] void refuse_resumption(fmt::format_string<Args...> format, Args&&... args) {
  throw RefusedResumption(fmt::format(format, std::forward<Args>(args)...));
}

// By its kind, but for a refused resumption.
inline int exit_code(const Error& error) {
  return dynamic_cast<const RefusedResumption*>(&error) != nullptr ? kRefusedResumptionExitCode : exit_code(error.kind());
}

}  // namespace metarm
