#include "metarm/serve/status_history.h"

namespace metarm {

void StatusHistory::offer(const Point& point) {
  if (offered_++ % stride_ != 0) return;
  points_.push_back(point);
  if (points_.size() < capacity_) return;
  std::vector<Point> kept;
  for (std::size_t i = 0; i < points_.size(); i += 2) kept.push_back(std::move(points_[i]));
  points_ = std::move(kept);
  stride_ *= 2;
}

Json StatusHistory::to_json() const {
  Json series = Json::object();
  for (const Point& point : points_)
    for (const auto& [name, value] : point) series[name].push_back(value ? Json(*value) : Json(nullptr));
  return series;
}

}  // namespace metarm
