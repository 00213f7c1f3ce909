#include "metarm/serve/event_log.h"

#include <fmt/format.h>

#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

constexpr std::size_t kEvents = 100;
constexpr const char* kFailure = "failed";

Json without_private(Json event) {
  if (event.value("event", "") != kFailure) return event;
  const auto code = event.find("exit_code");
  event["text"] = code != event.end() && code->is_number()
                      ? fmt::format("metarm align ended with {}; events.jsonl in --state says more", code->get<int>())
                      : "events.jsonl in --state says why";
  return event;
}

}  // namespace

EventLog::EventLog(const std::string& path, Log& log)
    : log_(log), journal_(std::make_unique<Journal>(path, [this](const JsonRow& row) { keep(row.value); })) {}

void EventLog::keep(const Json& event) {
  last_.push_back(event);
  if (last_.size() > kEvents) last_.pop_front();
}

void EventLog::add(const std::string& event, std::int64_t version, const std::string& text) {
  add({{"time", seconds_since_1970()}, {"event", event}, {"version", version}, {"text", text}});
}

void EventLog::add_failure(std::int64_t version, const std::string& text, std::optional<int> exit_code) {
  add({{"time", seconds_since_1970()},
       {"event", kFailure},
       {"version", version},
       {"text", text},
       {"exit_code", exit_code ? Json(*exit_code) : Json(nullptr)}});
}

void EventLog::add(const Json& line) {
  const std::lock_guard lock(mutex_);
  keep(line);
  try {
    journal_->append(line);
  } catch (const std::exception& error) {
    log_.warn(error.what());
  }
  log_.result(without_private(line).dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json EventLog::to_json(bool for_admin) const {
  const std::lock_guard lock(mutex_);
  Json events = Json::array();
  for (const Json& event : last_) events.push_back(for_admin ? event : without_private(event));
  return events;
}

}  // namespace metarm
