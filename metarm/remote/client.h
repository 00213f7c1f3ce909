// Many requests to one server at a time, each repeated until it is answered or there is no hope.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "metarm/base/json_lines.h"
#include "metarm/base/log.h"
#include "metarm/remote/failure.h"
#include "metarm/remote/server.h"

namespace metarm {

struct Request {
  std::int64_t id = 0;  // the caller's
  std::string path;     // below the server's URL: "/completions"
  Json body;
  std::string where;  // file:line of what is asked about, for errors
};

struct Exchange {
  // The next request, or none for now: it is asked again after each answer. What is out when it gives none and nothing is under way ends
  // all.
  std::function<std::optional<Request>()> next;
  // Takes an answer, in the order in which answers come. An input error means that it is not what it should be: the request is repeated,
  // so nothing may have been kept of it.
  std::function<void(const Request&, const Json& answer, const std::string& url)> take;
  // Whether the caller will ask otherwise, after a status that tells of the request rather than of the moment: 4xx that does not pass, or
  // 500. May be empty.
  std::function<bool(const Request&, const Failure&)> refused;
};

// Runs the exchange with at most options.concurrency requests at once, from one thread. A connection that fails or takes too long, a status
// 408, 409, 429 or 5xx, and an answer that is cut off, no JSON or not what `take` expects are tried again, up to options.retries times in
// a row; being told to wait counts only while nothing else is answered. Retry-After is kept to, for all requests.
//
// When a request fails for good, no further ones begin; those under way are still taken, then its error is thrown: `file:line: URL:
// expected an answer, got ...; hint`. input: the server refuses the request (4xx); io: anything else. The key never appears in it.
void run_exchange(const Server& server, const Exchange& exchange, Log& log);

}  // namespace metarm
