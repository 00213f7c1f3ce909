// Reward differences of many pairs that share prompts and responses, as augmentation makes them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/model/scorer.h"

namespace metarm {

// r(x, chosen) − r(x, rejected) of each pair; nullopt where a response alone is longer than the encoder's max_length. Pairs that follow
// each other and have one prompt are one token tree, in which each response is once: RRM's 14 pairs of a row are 6 sequences of 28.
std::vector<std::optional<double>> reward_differences(Ranks& ranks, const Scorer& scorer, Encoder& encoder,
                                                      std::span<const Pair* const> pairs, std::int64_t tokens_per_batch, Log& log);

}  // namespace metarm
