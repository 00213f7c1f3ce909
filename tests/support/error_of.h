// What a piece of code says when it fails.
#pragma once

#include <functional>
#include <string>

#include "metarm/base/error.h"

namespace metarm {

// The message of the Error that `body` throws, or "none".
inline std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

}  // namespace metarm
