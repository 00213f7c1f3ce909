// A pair to be written, with where it comes from.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/data/rows.h"

namespace metarm {

struct CollectedPair {
  Pair pair;
  const char* kind = "";             // labelled, judged, pseudo, or what made it: a corruption or a cross-prompt pair
  std::optional<double> confidence;  // that the chosen response is the better one; absent: not estimated
  std::vector<std::string> others;   // rows that a response comes from, other than the pair's own
  bool tie = false;                  // neither response is better
  std::optional<Json> row;           // as it was read, where the pair is one of a file: written with all its fields
  bool left_out = false;             // by the balance of lengths
};

// How a row is named in others' origin: its id, or file:line.
std::string row_name(const Pair& pair);

// What a row's `origin` says of it, where an earlier call wrote one.
struct Origin {
  std::optional<double> confidence;
  bool tie = false;
};
Origin read_origin(const Json& row);

// The rows to write: one with `origin` {kind, row, others, confidence, tie}; an `origin` that was read stays. Of a tie two, both orders
// with half the weight each, whose losses add up to that of a label of 1/2; of one that was read, the row that it is:
//
//   1/2 · −log σ(d) + 1/2 · −log σ(−d),   minimal at d = 0
std::vector<Json> to_rows(const CollectedPair& pair);

}  // namespace metarm
