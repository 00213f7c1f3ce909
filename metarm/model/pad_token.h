// The pad token of a new reward model. transformers reads a reward at the last token that is not padding, so that padding with the end
// token would read it one token early: a new reward model gets a pad token of its own.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "metarm/text/tokenizer.h"

namespace metarm {

struct PadToken {
  std::int64_t id;
  std::string text;
  bool added;  // not in the tokenizer yet: the next free id
};

// The tokenizer's own pad token where it ends no text (neither the tokenizer's end token nor one of `end_tokens`), else a token made for it
// that the vocabulary already has, else a new one.
PadToken choose_pad_token(const Tokenizer& tokenizer, std::span<const std::int64_t> end_tokens);

// Copies a checkpoint's tokenizer files to `to`; with `pad`, their pad token becomes that one.
void copy_tokenizer_files(const std::string& from, const std::string& to, const std::optional<PadToken>& pad);

}  // namespace metarm
