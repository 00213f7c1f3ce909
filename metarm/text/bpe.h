// Byte-pair encoding of one word: characters, then the merge of lowest rank again and again (leftmost first among equals).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

// Lets a map of strings be asked with a view.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
using Vocabulary = std::unordered_map<std::string, TokenId, StringHash, std::equal_to<>>;

class Bpe {
 public:
  // The `model` object of a tokenizer.json. Input errors: another kind than BPE, merges of unknown tokens, ids out of range.
  static Bpe parse(const Json& json, const std::string& where);

  void encode(std::string_view word, TokenIds& ids) const;  // appends. Cost O(n log n)
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  struct Merge {
    std::int32_t rank;
    TokenId id;
  };
  TokenIds to_symbols(std::string_view word) const;
  bool add_bytes(std::string_view character, TokenIds& symbols) const;
  const Merge* find_merge(TokenId left, TokenId right) const;

  Vocabulary vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;
  std::optional<TokenId> unknown_;
  std::vector<TokenId> byte_tokens_;  // 256, or empty without byte fallback
  std::string prefix_, suffix_;       // of a word's later characters, of its last
  bool fuse_unknown_ = false, ignore_merges_ = false;
};

}  // namespace metarm
