// What a server looked like over its whole run, in a bounded number of points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/json_lines.h"

namespace metarm {

// Points are offered at a steady pace. Once `capacity` are kept, every second one is dropped and from then on half as many are taken.
class StatusHistory {
 public:
  using Point = std::vector<std::pair<std::string, std::optional<double>>>;  // the same names each time; nullopt: not known

  explicit StatusHistory(std::size_t capacity) : capacity_(capacity) {}
  void offer(const Point& point);
  Json to_json() const;  // name -> list of values, null where unknown

 private:
  std::size_t capacity_, stride_ = 1, offered_ = 0;
  std::vector<Point> points_;
};

}  // namespace metarm
