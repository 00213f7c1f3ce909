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

// A point may be added at a steady pace, and is where `takes_next` says so. Once `capacity` are kept, every second one is dropped and from
// then on half as many are taken. Values whose names end in _per_s are rates since the point before: those of a dropped one are averaged
// into the next. `capacity` is even.
class StatusHistory {
 public:
  using Point = std::vector<std::pair<std::string, std::optional<double>>>;  // the same names each time; nullopt: not known

  explicit StatusHistory(std::size_t capacity) : capacity_(capacity) {}
  bool takes_next() { return offered_++ % stride_ == 0; }
  void add(Point point);
  Json to_json() const;  // name -> list of values, null where unknown

 private:
  std::size_t capacity_, stride_ = 1, offered_ = 0;
  std::vector<Point> points_;
};

}  // namespace metarm
