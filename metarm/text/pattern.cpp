#define PCRE2_CODE_UNIT_WIDTH 8
#include "metarm/text/pattern.h"

#include <pcre2.h>

#include <algorithm>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// Unicode's white space, as Oniguruma's \s has it: PCRE2's lacks U+0085 and has U+180E.
constexpr const char* kSpaces =
    "\\x{09}-\\x{0d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

std::string to_pcre2(const std::string& expression) {
  std::string out;
  bool in_class = false;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c == '\\' && i + 1 < expression.size()) {
      const char next = expression[++i];
      if (next == 's')
        out += in_class ? std::string(kSpaces) : "[" + std::string(kSpaces) + "]";
      else if (next == 'S' && !in_class)
        out += "[^" + std::string(kSpaces) + "]";
      else
        out += {c, next};
      continue;
    }
    if (c == '[') in_class = true;  // nested classes are Oniguruma's own and are not in any known pattern
    if (c == ']') in_class = false;
    out += c;
  }
  return out;
}

}  // namespace

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
  const std::string translated = to_pcre2(expression);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto compiled = std::make_shared<Compiled>();
  compiled->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_NO_UTF_CHECK, &error, &offset, nullptr);
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

void add_match(std::vector<Piece>& pieces, std::size_t begin, std::size_t end) {
  const std::size_t before = pieces.empty() ? 0 : pieces.back().end;
  if (before < begin) pieces.push_back({before, begin, false});
  pieces.push_back({begin, end, true});
}

}  // namespace

std::vector<Piece> Pattern::cut(std::string_view text) const {
  std::vector<Piece> pieces;
  if (regex_ == nullptr) {
    if (!literal_.empty())
      for (std::size_t at = text.find(literal_); at != std::string_view::npos; at = text.find(literal_, at + literal_.size()))
        add_match(pieces, at, at + literal_.size());
  } else {
    const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
        pcre2_match_data_create_from_pattern(regex_->code, nullptr), pcre2_match_data_free);
    for (std::size_t from = 0; from < text.size();) {
      if (pcre2_match(regex_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK, data.get(),
                      nullptr) <= 0)
        break;
      const PCRE2_SIZE* span = pcre2_get_ovector_pointer(data.get());
      if (span[1] > span[0]) add_match(pieces, span[0], span[1]);
      from = span[1] > span[0] ? span[1] : span[1] + 1;
      while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0U) == 0x80U) ++from;
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
