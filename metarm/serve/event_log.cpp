#include "metarm/serve/event_log.h"

#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

constexpr std::size_t kEvents = 100;

}  // namespace

EventLog::EventLog(const std::string& path, Log& log)
    : log_(log), journal_(std::make_unique<Journal>(path, [this](const JsonRow& row) { keep(row.value); })) {}

void EventLog::keep(const Json& event) {
  last_.push_back(event);
  if (last_.size() > kEvents) last_.pop_front();
}

void EventLog::add(const std::string& event, std::int64_t version, const std::string& text) {
  const Json line = {{"time", seconds_since_1970()}, {"event", event}, {"version", version}, {"text", text}};
  const std::lock_guard lock(mutex_);
  keep(line);
  try {
    journal_->append(line);
  } catch (const std::exception& error) {
    log_.warn(error.what());
  }
  log_.result(line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json EventLog::to_json() const {
  const std::lock_guard lock(mutex_);
  return Json(std::vector<Json>(last_.begin(), last_.end()));
}

}  // namespace metarm
