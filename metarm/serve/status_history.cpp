#include "metarm/serve/status_history.h"

namespace metarm {

namespace {

void average_rates(StatusHistory::Point& point, const StatusHistory::Point& before) {
  for (std::size_t i = 0; i < point.size(); ++i) {
    auto& [name, value] = point[i];
    if (name.ends_with("_per_s") && value && before[i].second) value = (*value + *before[i].second) / 2;
  }
}

}  // namespace

void StatusHistory::add(Point point) {
  points_.push_back(std::move(point));
  if (points_.size() < capacity_) return;
  std::vector<Point> kept;
  for (std::size_t i = 1; i < points_.size(); i += 2) {
    average_rates(points_[i], points_[i - 1]);
    kept.push_back(std::move(points_[i]));
  }
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
