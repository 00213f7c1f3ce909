// Pairs and response groups as they are explained: their own fields, and the token sequences whose rewards are to be divided.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/data/encode.h"

namespace metarm {

struct ExplainRow {
  Json json;          // the row's own fields, and `where`
  std::string where;  // file:line
  bool is_pair = false;
  std::vector<TokenIds> sequences;  // chosen and rejected; or a group's responses that fit, one at least
  std::vector<std::size_t> places;  // of the sequences among the responses
  std::size_t responses = 0;        // of a group, those that are too long counted

  // One value a sequence as a list with one a response: null for one that is too long.
  Json by_response(std::span<const Json> values) const;
};

// Pairs first, in the order given. What does not fit is left out, and counted by the encoder.
std::vector<ExplainRow> make_explain_rows(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups, Encoder& encoder);

}  // namespace metarm
