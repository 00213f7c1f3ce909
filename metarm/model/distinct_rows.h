// Rows of a batch of which some are the same: what is read of them is computed once for each, so that the same row gives the same result
// to the last bit wherever it stands.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace metarm {

class DistinctRows {
 public:
  explicit DistinctRows(const std::vector<std::int64_t>& rows);

  const std::vector<std::int64_t>& rows() const { return rows_; }  // each once, in the order of their first places
  // [all rows, ...] of a tensor [distinct rows, ...].
  at::Tensor spread(const at::Tensor& of_rows) const;

 private:
  std::vector<std::int64_t> rows_, place_;  // place_: of each row in rows_
};

}  // namespace metarm
