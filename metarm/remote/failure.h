// What may go wrong with a request, and what is done about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "metarm/base/error.h"

namespace metarm {

struct Failure {
  ErrorKind kind = ErrorKind::io;
  std::string message;  // "URL: expected an answer, got 503 \"overloaded\""
  std::string hint;     // may be empty
  bool passing = true;  // worth another try
  bool busy = false;    // the server has too much to do: 429, 503
  long status = 0;      // of HTTP; 0: there was no answer
  double wait_s = 0;    // that the server asks for (Retry-After); 0: it does not say
};

// For a status other than 200 with its body. 408, 409, 429 and 5xx pass; other 4xx are the user's to fix.
Failure http_failure(const std::string& url, long status, std::string_view body, double wait_s);

// What a server's answer says went wrong, in quotes: `error.message`, `error`, `message` or `detail` of JSON, else its text. One line of at
// most 300 bytes, valid UTF-8; empty where it says nothing.
std::string quote_reason(std::string_view body);

// Seconds before the next try, after `failures` in a row: 0.5 doubled each time, at most 30, times a number in [0.5, 1) drawn for the
// request, so that requests that failed together do not come back together.
double back_off_s(std::int64_t request, std::int64_t failures);

}  // namespace metarm
