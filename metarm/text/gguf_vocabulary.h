// The vocabulary that a GGUF file carries: tokens by id, what they are for, and the merges of its byte-pair encoding.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/gguf.h"

namespace metarm {

// By their numbers in files. Control tokens stand for no text; user-defined ones are matched whole in a text before anything else.
enum class GgufTokenKind : std::int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct GgufVocabulary {
  bool byte_level = false;  // GPT-2's alphabet of bytes; else SentencePiece's "▁" for spaces and <0x..> for bytes
  bool gemma = false;
  std::vector<std::string> tokens;  // by id; empty for ids that only pad the embedding
  std::vector<GgufTokenKind> kinds;
  std::vector<std::pair<std::string, std::string>> merges;  // first to last
  std::optional<std::int64_t> bos, eos, pad, unk;
};

// Input errors `file: tokenizer.ggml....: ...` for what is missing, out of range, not UTF-8 or twice, for merges of unknown tokens, and for
// models other than gpt2 (byte-level) and llama (SentencePiece's byte-pair encoding).
GgufVocabulary load_gguf_vocabulary(const GgufFile& file);

}  // namespace metarm
