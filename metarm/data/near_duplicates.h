// Responses of a group that say nearly what another one says: by the resemblance of their shingles (shingles.h).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "metarm/data/rows.h"

namespace metarm {

class NearDuplicates {
 public:
  // max_overlap: the largest resemblance that is borne; 0: any. words: of a shingle.
  NearDuplicates(double max_overlap, std::int64_t words) : max_overlap_(max_overlap), words_(words) {}

  // Whether the response resembles one that was asked about before and was none. Of one group, in order.
  bool is_one(const std::optional<Content>& prompt, const Content& response);

 private:
  double max_overlap_;
  std::int64_t words_;
  std::vector<std::vector<std::uint64_t>> kept_;
};

}  // namespace metarm
