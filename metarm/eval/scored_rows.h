// Scoring files of rows of any kind, one output row an input row.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/model/scorer.h"

namespace metarm {

struct ScoreSummary {
  std::int64_t rows = 0, skipped = 0, sequences = 0, tokens = 0;
  std::int64_t too_long = 0;  // rows with a text that is too long to score
  double seconds = 0;         // of reading, scoring and writing
};

// Adds to each row what it is worth and writes it to `write` as a JSON line: `reward` to a text, `messages` or prompt with response;
// `rewards` to a response group; `chosen_reward` and `rejected_reward` to a pair; of an ensemble beside each the deviation of its members,
// `reward_std`, `rewards_std`, `chosen_reward_std` and `rejected_reward_std`. A sequence that is too long to score gets null. Reads and
// scores rows in blocks, so that files of any size fit.
//
// All ranks call it and read all rows; they divide the sequences of a block, and each calls `write` for every row.
ScoreSummary score_rows(Ranks& ranks, const Scorer& scorer, Encoder& encoder, const std::vector<std::string>& files, BadRows bad_rows,
                        std::int64_t tokens_per_batch, const std::function<void(const Json& row)>& write, Log& log);

}  // namespace metarm
