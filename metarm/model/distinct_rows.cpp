#include "metarm/model/distinct_rows.h"

#include <ATen/ATen.h>

#include <unordered_map>

namespace metarm {

DistinctRows::DistinctRows(const std::vector<std::int64_t>& rows) {
  std::unordered_map<std::int64_t, std::int64_t> places;
  for (const std::int64_t row : rows) {
    const auto [place, is_new] = places.try_emplace(row, static_cast<std::int64_t>(rows_.size()));
    if (is_new) rows_.push_back(row);
    place_.push_back(place->second);
  }
}

at::Tensor DistinctRows::spread(const at::Tensor& of_rows) const {
  if (rows_.size() == place_.size()) return of_rows;
  return of_rows.index_select(0, at::tensor(place_, at::kLong).to(of_rows.device()));
}

}  // namespace metarm
