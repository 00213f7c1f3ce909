// How much two texts have in common: the resemblance of their shingles, runs of k words (Broder 1997, "On the resemblance and containment
// of documents").
//
//   resemblance = |A ∩ B| / |A ∪ B|,  A and B the sets of shingles;  1 for texts with the same words
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace metarm {

// Hashes of the runs of `words` words, sorted, each once. Words are runs without white space, ASCII letters in lower case. A text of fewer
// words is one shingle; an empty one has none.
std::vector<std::uint64_t> list_shingles(std::string_view text, std::int64_t words);

double resemblance(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b);  // two empty sets: 1

}  // namespace metarm
