// The pad token of a new reward model. transformers reads a reward at the last token that is not padding, so that padding with the end
// token would read it one token early: a new reward model gets a pad token of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "metarm/text/tokenizer.h"

namespace metarm {

struct PadToken {
  std::int64_t id;
  std::string text;
  bool added;  // not in the tokenizer yet: the next free id
};

// The tokenizer's own pad token where it is not the end token, else a token made for it that the vocabulary already has, else a new one.
PadToken choose_pad_token(const Tokenizer& tokenizer);

// Copies a checkpoint's tokenizer files to `to`; with `pad`, their pad token becomes that one.
void copy_tokenizer_files(const std::string& from, const std::string& to, const std::optional<PadToken>& pad);

}  // namespace metarm
