#define PCRE2_CODE_UNIT_WIDTH 8
#include "metarm/text/pattern.h"

#include <pcre2.h>

#include <algorithm>

#include "metarm/base/error.h"
#include "metarm/text/oniguruma.h"

namespace metarm {

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  ~Compiled() { pcre2_code_free(code); }
};

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(const std::string& expression, const std::string& where) {
  const std::string translated = to_pcre2(expression, where);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto compiled = std::make_shared<Compiled>();
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
  if (compiled->code == nullptr) {
    char message[200] = {};
    pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
    fail_input("{}: expected a regular expression, got `{}`: {}", where, expression, message);
  }
  pcre2_jit_compile(compiled->code, PCRE2_JIT_COMPLETE);
  Pattern pattern;
  pattern.regex_ = std::move(compiled);
  return pattern;
}

Pattern Pattern::parse(const Json& json, const std::string& where) {
  if (json.is_object() && json.contains("String")) return literal(text_field(json, "String", where));
  if (json.is_object() && json.contains("Regex")) return regex(text_field(json, "Regex", where), where);
  fail_input("{}: pattern: expected String or Regex, got {}", where, json.dump());
}

namespace {

using MatchData = std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)>;

void add_match(std::vector<Piece>& pieces, std::size_t begin, std::size_t end) {
  const std::size_t before = pieces.empty() ? 0 : pieces.back().end;
  if (before < begin) pieces.push_back({before, begin, false});
  pieces.push_back({begin, end, true});
}

std::string error_text(int error) {
  char message[200] = {};
  pcre2_get_error_message(error, reinterpret_cast<PCRE2_UCHAR*>(message), sizeof message);
  return message;
}

// Whether there is a match at `from` or later.
bool find_match(const pcre2_code* code, std::string_view text, std::size_t from, const MatchData& data) {
  const auto search = [&](std::uint32_t options) {
    return pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK | options, data.get(),
                       nullptr);
  };
  int found = search(0);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT) found = search(PCRE2_NO_JIT);  // slower, and its memory grows as needed
  if (found < 0 && found != PCRE2_ERROR_NOMATCH)
    fail_input("text: expected one that the tokenizer's pattern can search, got: {}", error_text(found));
  return found > 0;
}

std::size_t next_character(std::string_view text, std::size_t at) {
  do ++at;
  while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0U) == 0x80U);
  return at;
}

}  // namespace

std::vector<Piece> Pattern::cut(std::string_view text) const {
  std::vector<Piece> pieces;
  if (regex_ == nullptr) {
    if (!literal_.empty())
      for (std::size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size()))
        add_match(pieces, at, at + literal_.size());
  } else {
    const MatchData data(pcre2_match_data_create_from_pattern(regex_->code, nullptr), pcre2_match_data_free);
    for (std::size_t from = 0; !text.empty() && from <= text.size() && find_match(regex_->code, text, from, data);) {
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
      const bool empty = span[0] == span[1];
      const bool follows_match = !pieces.empty() && pieces.back().end == span[0];
      if (!empty || !follows_match) add_match(pieces, span[0], span[1]);
      from = empty ? next_character(text, span[1]) : span[1];
    }
  }
  const std::size_t covered = pieces.empty() ? 0 : pieces.back().end;
  if (covered < text.size()) pieces.push_back({covered, text.size(), false});
  return pieces;
}

std::string Pattern::replace(std::string_view text, std::string_view content) const {
  std::string out;
  for (const Piece& piece : cut(text)) out += piece.match ? content : text.substr(piece.begin, piece.end - piece.begin);
  return out;
}

SplitBehavior parse_split_behavior(const Json& json, const std::string& where) {
  const std::string name = json.is_string() ? json.get<std::string>() : json.dump();
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  fail_input("{}: behavior: expected Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous, got {}", where, name);
}

std::vector<std::string_view> split_pieces(std::string_view text, std::vector<Piece> pieces, SplitBehavior behavior) {
  const bool backwards = behavior == SplitBehavior::merged_with_next;
  if (backwards) std::ranges::reverse(pieces);
  std::vector<Piece> merged;
  bool previous_match = false;
  for (const Piece& piece : pieces) {
    bool join = false;
    if (behavior == SplitBehavior::merged_with_previous || behavior == SplitBehavior::merged_with_next)
      join = piece.match && !previous_match;
    if (behavior == SplitBehavior::contiguous) join = piece.match == previous_match;
    if (join && !merged.empty()) {
      merged.back().begin = std::min(merged.back().begin, piece.begin);
      merged.back().end = std::max(merged.back().end, piece.end);
    } else if (behavior != SplitBehavior::removed || !piece.match) {
      merged.push_back(piece);
    }
    previous_match = piece.match;
  }
  if (backwards) std::ranges::reverse(merged);
  std::vector<std::string_view> splits;
  for (const Piece& piece : merged)
    if (piece.end > piece.begin) splits.push_back(text.substr(piece.begin, piece.end - piece.begin));
  return splits;
}

}  // namespace metarm
