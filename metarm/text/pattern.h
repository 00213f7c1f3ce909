// What a tokenizer.json means by a pattern: a literal text or a regular expression, and cutting a text at its matches.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/json_lines.h"

namespace metarm {

struct Piece {
  std::size_t begin, end;  // bytes
  bool match;
};

class Pattern {
 public:
  static Pattern literal(std::string text);
  static Pattern regex(const std::string& expression,
                       const std::string& where);  // input error when it does not compile, or means something else in PCRE2
  // {"String": ...} or {"Regex": ...}
  static Pattern parse(const Json& json, const std::string& where);

  // The whole text as matches and what lies between, in order; an empty match cuts too. Input error where the search goes beyond PCRE2's
  // limits.
  std::vector<Piece> cut(std::string_view text) const;
  std::string replace(std::string_view text, std::string_view content) const;

 private:
  struct Compiled;
  std::string literal_;
  std::shared_ptr<const Compiled> regex_;
};

// How the pieces of a cut become splits.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
SplitBehavior parse_split_behavior(const Json& json, const std::string& where);
std::vector<std::string_view> split_pieces(std::string_view text, std::vector<Piece> pieces, SplitBehavior behavior);

}  // namespace metarm
