#include "metarm/text/pre_tokenizer.h"

#include "metarm/base/error.h"
#include "metarm/text/byte_level.h"
#include "metarm/text/unicode.h"

namespace metarm {

namespace {

constexpr int kMaxNesting = 32;
constexpr const char* kGpt2Words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

PreTokenizerStep make_step(PreTokenizerKind kind) {
  PreTokenizerStep step;
  step.kind = kind;
  return step;
}

PreTokenizerStep parse_metaspace(const Json& json, const std::string& where) {
  PreTokenizerStep step = make_step(PreTokenizerKind::metaspace);
  step.replacement = text_field(json, "replacement", where);
  if (step.replacement.empty()) fail_input("{}: replacement: expected a character, got an empty text", where);
  step.prepend = parse_prepend_scheme(json, where);
  step.splits = json.value("split", true);
  step.pattern = Pattern::literal(step.replacement);
  return step;
}

PreTokenizerStep parse_simple(const std::string& type, const Json& json, const std::string& where) {
  PreTokenizerStep step;
  if (type == "ByteLevel") {
    step = make_step(PreTokenizerKind::byte_level);
    step.add_prefix_space = json.value("add_prefix_space", true);
    step.use_regex = json.value("use_regex", true);
    if (step.use_regex) step.pattern = Pattern::regex(kGpt2Words, where);
  } else if (type == "Split") {
    step = make_step(PreTokenizerKind::split);
    step.pattern = Pattern::parse(require_field(json, "pattern", where), where);
    step.behavior = parse_split_behavior(require_field(json, "behavior", where), where);
    step.invert = json.value("invert", false);
  } else if (type == "Digits") {
    step = make_step(PreTokenizerKind::digits);
    step.individual_digits = json.value("individual_digits", false);
  } else if (type == "Whitespace") {
    step = make_step(PreTokenizerKind::whitespace);
  } else if (type == "WhitespaceSplit") {
    step = make_step(PreTokenizerKind::whitespace_split);
  } else if (type == "Punctuation") {
    step = make_step(PreTokenizerKind::punctuation);
    if (json.contains("behavior")) step.behavior = parse_split_behavior(json["behavior"], where);
  } else if (type == "Metaspace") {
    step = parse_metaspace(json, where);
  } else {
    fail_input(
        "{}: pre_tokenizer: expected Sequence, ByteLevel, Split, Digits, Whitespace, WhitespaceSplit, Punctuation or Metaspace, got {}",
        where, type);
  }
  return step;
}

void parse_into(std::vector<PreTokenizerStep>& steps, const Json& json, const std::string& where, int nesting) {
  if (json.is_null()) return;
  const std::string type = text_field(json, "type", where);
  if (type != "Sequence") {
    steps.push_back(parse_simple(type, json, where));
    return;
  }
  if (nesting > kMaxNesting) fail_input("{}: expected at most {} nested sequences", where, kMaxNesting);
  for (const Json& inner : require_field(json, "pretokenizers", where)) parse_into(steps, inner, where, nesting + 1);
}

// Runs of characters that satisfy `test` or do not; with `single`, each such character alone.
template <class Test>
std::vector<Piece> cut_by(std::string_view text, Test&& test) {
  std::vector<Piece> pieces;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t begin = position;
    const bool match = test(next_code_point(text, position));
    if (!match && !pieces.empty() && !pieces.back().match)
      pieces.back().end = position;
    else
      pieces.push_back({begin, position, match});
  }
  return pieces;
}

std::vector<std::string> to_strings(const std::vector<std::string_view>& views) { return {views.begin(), views.end()}; }

// Words, and runs of what is neither a word nor white space.
std::vector<std::string> cut_words(const std::string& text) {
  std::vector<std::string> words;
  int previous = 0;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t begin = position;
    const char32_t c = next_code_point(text, position);
    const int now = is_whitespace(c) ? 0 : is_word(c) ? 1 : 2;
    if (now != 0 && now != previous) words.emplace_back();
    if (now != 0) words.back() += text.substr(begin, position - begin);
    previous = now;
  }
  return words;
}

std::vector<std::string> apply_byte_level(const PreTokenizerStep& step, std::string text) {
  if (step.add_prefix_space && !text.starts_with(' ')) text = ' ' + text;
  if (!step.use_regex) return {to_byte_level(text)};
  std::vector<std::string> words;
  for (const std::string_view word : split_pieces(text, step.pattern.cut(text), SplitBehavior::isolated))
    words.push_back(to_byte_level(word));
  return words;
}

std::vector<std::string> apply_metaspace(const PreTokenizerStep& step, const std::string& text, bool first) {
  std::string marked = Pattern::literal(" ").replace(text, step.replacement);
  const bool wanted = step.prepend == PrependScheme::always || (step.prepend == PrependScheme::first && first);
  if (wanted && !marked.starts_with(step.replacement)) marked = step.replacement + marked;
  if (!step.splits) return {marked};
  return to_strings(split_pieces(marked, step.pattern.cut(marked), SplitBehavior::merged_with_next));
}

std::vector<std::string> apply_step(const PreTokenizerStep& step, std::string text, bool first) {
  switch (step.kind) {
    case PreTokenizerKind::byte_level: return apply_byte_level(step, std::move(text));
    case PreTokenizerKind::metaspace: return apply_metaspace(step, text, first);
    case PreTokenizerKind::split: {
      std::vector<Piece> pieces = step.pattern.cut(text);
      if (step.invert)
        for (Piece& piece : pieces) piece.match = !piece.match;
      return to_strings(split_pieces(text, std::move(pieces), step.behavior));
    }
    case PreTokenizerKind::whitespace: return cut_words(text);
    case PreTokenizerKind::digits:
      return to_strings(
          split_pieces(text, cut_by(text, is_numeric), step.individual_digits ? SplitBehavior::isolated : SplitBehavior::contiguous));
    case PreTokenizerKind::whitespace_split: return to_strings(split_pieces(text, cut_by(text, is_whitespace), SplitBehavior::removed));
    case PreTokenizerKind::punctuation: return to_strings(split_pieces(text, cut_by(text, is_punctuation), step.behavior));
  }
  fail_internal("unknown pre-tokenizer");
}

}  // namespace

PrependScheme parse_prepend_scheme(const Json& json, const std::string& where) {
  if (!json.contains("prepend_scheme")) return json.value("add_prefix_space", true) ? PrependScheme::always : PrependScheme::never;
  const std::string name = text_field(json, "prepend_scheme", where);
  if (name == "always") return PrependScheme::always;
  if (name == "first") return PrependScheme::first;
  if (name == "never") return PrependScheme::never;
  fail_input("{}: prepend_scheme: expected always, first or never, got {}", where, name);
}

PreTokenizer PreTokenizer::parse(const Json& json, const std::string& where) {
  PreTokenizer pre_tokenizer;
  parse_into(pre_tokenizer.steps_, json, where, 0);
  return pre_tokenizer;
}

std::vector<std::string> PreTokenizer::apply(std::string text, bool first) const {
  std::vector<std::string> words;
  if (!text.empty()) words.push_back(std::move(text));
  for (const PreTokenizerStep& step : steps_) {
    std::vector<std::string> next;
    for (std::size_t i = 0; i < words.size(); ++i)
      for (std::string& word : apply_step(step, std::move(words[i]), first && i == 0))
        if (!word.empty()) next.push_back(std::move(word));
    words = std::move(next);
  }
  return words;
}

}  // namespace metarm
