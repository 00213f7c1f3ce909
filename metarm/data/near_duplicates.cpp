#include "metarm/data/near_duplicates.h"

#include <algorithm>
#include <utility>

#include "metarm/data/response_part.h"
#include "metarm/data/shingles.h"

namespace metarm {

bool NearDuplicates::is_one(const std::optional<Content>& prompt, const Content& response) {
  if (max_overlap_ == 0) return false;
  std::vector<std::uint64_t> own = list_shingles(response_text(prompt, response), words_);
  if (std::ranges::any_of(kept_, [&](const std::vector<std::uint64_t>& other) { return resemblance(own, other) > max_overlap_; }))
    return true;
  kept_.push_back(std::move(own));
  return false;
}

}  // namespace metarm
