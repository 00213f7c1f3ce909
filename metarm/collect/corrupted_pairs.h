// Pairs whose rejected response is the chosen one made worse on purpose.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "metarm/collect/augment_options.h"
#include "metarm/collect/collected_pair.h"

namespace metarm {

struct CorruptedPairs {
  std::vector<CollectedPair> pairs;                 // kinds truncated, repeated, shuffled, swapped
  std::map<std::string, std::int64_t> not_changed;  // of each kind, texts that are too short, or have no names
};

// Each row is drawn for each corruption with its share; a function of the seed and the row's place. Weights are 1.
CorruptedPairs make_corrupted_pairs(std::span<const CollectedPair> rows, const SyntheticOptions& options, std::uint64_t seed);

}  // namespace metarm
