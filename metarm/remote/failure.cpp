#include "metarm/remote/failure.h"

#include <algorithm>
#include <cmath>

#include "metarm/base/json_lines.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

constexpr std::size_t kQuotedBytes = 300;

const char* hint_for(long status) {
  switch (status) {
    case 401:
    case 403: return "the server wants a key: --api-key-env names the variable that holds it";
    case 404: return "check --server and --server-model";
    case 413: return "the prompt is too large for the server";
    case 429: return "lower --concurrency, or run the same command later";
    default: return status >= 300 && status < 400 ? "give the address that it redirects to" : "";
  }
}

// The part of a JSON answer that is for people; null where there is none.
Json find_reason(std::string_view text) {
  Json body;
  try {
    body = parse_json(text, "");
  } catch (const Error&) {
    return nullptr;
  }
  if (!body.is_object()) return nullptr;
  for (const char* field : {"error", "message", "detail"}) {
    const auto found = body.find(field);
    if (found == body.end() || found->is_null()) continue;
    return found->is_object() && found->contains("message") ? (*found)["message"] : *found;
  }
  return nullptr;
}

std::string on_one_line(std::string_view text) {
  std::string line;
  for (const char c : text.substr(0, 4 * kQuotedBytes)) {
    const bool gap = static_cast<unsigned char>(c) <= ' ' || c == 0x7f;
    if (!gap)
      line += c;
    else if (!line.empty() && line.back() != ' ')
      line += ' ';
  }
  while (line.ends_with(' ')) line.pop_back();
  if (line.size() > kQuotedBytes) line = line.substr(0, kQuotedBytes) + "...";
  return line;
}

// A cut may have gone through a character, and a server may send anything.
std::string as_utf8(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
}

}  // namespace

std::string quote_reason(std::string_view body) {
  const Json reason = find_reason(body);
  const std::string text = reason.is_string() ? reason.get<std::string>() : reason.is_null() ? std::string(body) : reason.dump();
  const std::string line = as_utf8(on_one_line(text));
  return line.empty() ? "" : fmt::format("\"{}\"", line);
}

Failure http_failure(const std::string& url, long status, std::string_view body, double wait_s) {
  Failure failure;
  failure.status = status;
  failure.wait_s = wait_s;
  failure.busy = status == 429 || status == 503;
  failure.passing = status == 408 || status == 409 || status == 429 || status >= 500;
  failure.kind = failure.passing ? ErrorKind::io : ErrorKind::input;
  failure.hint = hint_for(status);
  const std::string reason = quote_reason(body);
  failure.message = fmt::format("{}: expected an answer, got {}{}{}", url, status, reason.empty() ? "" : " ", reason);
  return failure;
}

double back_off_s(std::int64_t request, std::int64_t failures) {
  const double longest = std::min(30.0, std::ldexp(0.5, static_cast<int>(std::min<std::int64_t>(failures, 16) - 1)));
  RandomStream stream(0, "back-off", static_cast<std::uint64_t>(request), static_cast<std::uint64_t>(failures));
  return longest * (0.5 + 0.5 * stream.uniform());
}

}  // namespace metarm
