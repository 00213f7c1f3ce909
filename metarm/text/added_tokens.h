// Tokens that are found in a text before anything else: special ones and a user's own.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/bpe.h"
#include "metarm/text/normalizer.h"

namespace metarm {

struct AddedToken {
  TokenId id;
  std::string content;
  bool single_word, lstrip, rstrip, normalized, special;
};

// A stretch of a text: an added token, or what lies between.
struct Section {
  std::size_t begin, end;  // bytes
  std::optional<TokenId> token;
};

// Finds the leftmost, then longest, of some texts.
class TextTrie {
 public:
  void insert(std::string_view text, std::size_t value);
  // The longest text that starts at `position`.
  struct Found {
    std::size_t end, value;
  };
  std::optional<Found> longest_at(std::string_view text, std::size_t position) const;
  bool may_start(char byte) const { return starts_[static_cast<unsigned char>(byte)]; }

 private:
  struct Node {
    std::map<unsigned char, std::size_t> children;
    std::optional<std::size_t> value;
  };
  std::vector<Node> nodes_{1};
  std::array<bool, 256> starts_{};
};

class AddedTokens {
 public:
  static AddedTokens parse(const Json& json, const Normalizer& normalizer, const std::string& where);

  const std::vector<AddedToken>& tokens() const { return tokens_; }
  // Sections of a text: tokens looked for before normalization (`normalized` false), or after it.
  std::vector<Section> find(std::string_view text, bool normalized) const;

 private:
  std::vector<AddedToken> tokens_;
  TextTrie raw_, normalized_;
};

}  // namespace metarm
