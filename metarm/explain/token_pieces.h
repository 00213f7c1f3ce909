// The text of each token of a sequence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/text/tokenizer.h"

namespace metarm {

struct TokenPieces {
  std::vector<std::string> texts;     // joined, the decoded sequence; of several tokens that make one character, the last has it
  std::vector<std::int64_t> offsets;  // where each begins in that text, in characters
};
// Cost O(n²) decoded tokens: what one token says can depend on those before it.
TokenPieces token_pieces(const Tokenizer& tokenizer, const TokenIds& tokens);

}  // namespace metarm
