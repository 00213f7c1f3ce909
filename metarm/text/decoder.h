// Decoders of a tokenizer.json: tokens back to text.
#pragma once

#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/pattern.h"
#include "metarm/text/pre_tokenizer.h"

namespace metarm {

enum class DecoderKind { byte_level, metaspace, byte_fallback, fuse, strip, replace, bpe };

struct DecoderStep {
  DecoderKind kind;
  std::string content;               // strip: the character; replace: what comes in; metaspace: ▁; bpe: the word-end suffix
  Pattern pattern;                   // replace
  std::int64_t start = 0, stop = 0;  // strip: how many at most
  bool strips_first = false;         // metaspace: the first token loses all of its ▁, as in the library
};

class Decoder {
 public:
  static Decoder parse(const Json& json,
                       const std::string& where);  // null: tokens joined by spaces. Input error that lists the supported kinds
  std::string apply(std::vector<std::string> tokens) const;

 private:
  std::vector<DecoderStep> steps_;
  bool none_ = true;
};

}  // namespace metarm
