#include "metarm/text/normalizer.h"

#include <fmt/format.h>
#include <unicode/locid.h>
#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uniset.h>
#include <unicode/unistr.h>

#include "metarm/base/error.h"
#include "metarm/text/unicode.h"

namespace metarm {

namespace {

constexpr int kMaxNesting = 32;

void parse_into(std::vector<NormalizerStep>& steps, const Json& json, const std::string& where, int nesting) {
  if (json.is_null()) return;
  const std::string type = text_field(json, "type", where);
  const auto add = [&](NormalizerKind kind) -> NormalizerStep& { return steps.emplace_back(NormalizerStep{kind, {}, {}, true, true}); };
  if (type == "Sequence") {
    if (nesting > kMaxNesting) fail_input("{}: expected at most {} nested sequences", where, kMaxNesting);
    for (const Json& inner : require_field(json, "normalizers", where)) parse_into(steps, inner, where, nesting + 1);
  } else if (type == "NFC") {
    add(NormalizerKind::nfc);
  } else if (type == "NFD") {
    add(NormalizerKind::nfd);
  } else if (type == "NFKC") {
    add(NormalizerKind::nfkc);
  } else if (type == "NFKD") {
    add(NormalizerKind::nfkd);
  } else if (type == "Lowercase") {
    add(NormalizerKind::lowercase);
  } else if (type == "StripAccents") {
    add(NormalizerKind::strip_accents);
  } else if (type == "Strip") {
    NormalizerStep& step = add(NormalizerKind::strip);
    step.left = json.value("strip_left", true);
    step.right = json.value("strip_right", true);
  } else if (type == "Prepend") {
    add(NormalizerKind::prepend).content = text_field(json, "prepend", where);
  } else if (type == "Replace") {
    NormalizerStep& step = add(NormalizerKind::replace);
    step.pattern = Pattern::parse(require_field(json, "pattern", where), where);
    step.content = text_field(json, "content", where);
  } else {
    fail_input("{}: normalizer: expected Sequence, NFC, NFD, NFKC, NFKD, Lowercase, Strip, StripAccents, Prepend or Replace, got {}", where,
               type);
  }
}

// The tokenizers library normalizes by the tables of Unicode 9: later characters pass unchanged there, so here too.
constexpr std::uint8_t kUnicodeVersion = 9;

const icu::UnicodeSet& normalized_characters() {
  static const icu::UnicodeSet set = [] {
    UErrorCode status = U_ZERO_ERROR;
    icu::UnicodeSet made(icu::UnicodeString::fromUTF8(fmt::format("[:age={}.0:]", kUnicodeVersion)), status);
    if (U_FAILURE(status)) fail_internal("Unicode data: {}", u_errorName(status));
    made.freeze();
    return made;
  }();
  return set;
}

std::string normalize(std::string_view text, const char* name, UNormalization2Mode mode) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* whole = icu::Normalizer2::getInstance(nullptr, name, mode, status);
  if (U_FAILURE(status)) fail_internal("Unicode normalization failed: {}", u_errorName(status));
  const icu::FilteredNormalizer2 filtered(*whole, normalized_characters());
  const icu::Normalizer2* normalizer = &filtered;
  const icu::UnicodeString wide = icu::UnicodeString::fromUTF8(icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  std::string out;
  normalizer->normalize(wide, status).toUTF8String(out);
  if (U_FAILURE(status)) fail_internal("Unicode normalization failed: {}", u_errorName(status));
  return out;
}

template <class Each>
std::string map_code_points(std::string_view text, Each&& each) {
  std::string out;
  for (std::size_t position = 0; position < text.size();) each(out, next_code_point(text, position));
  return out;
}

std::string lowercase(std::string_view text) {
  return map_code_points(text, [](std::string& out, char32_t c) {  // by code point: no context, as the Rust library does
    icu::UnicodeString(static_cast<UChar32>(c)).toLower(icu::Locale::getRoot()).toUTF8String(out);
  });
}

// A mark in Unicode 9; four characters have changed sides since.
bool was_mark(char32_t c) {
  if (c == 0x1CF2 || c == 0x1CF3) return true;
  if (c == 0x0C04 || c == 0x111C9) return false;
  const auto point = static_cast<UChar32>(c);
  return (U_GET_GC_MASK(point) & U_GC_M_MASK) != 0 && normalized_characters().contains(point);
}

std::string strip_accents(std::string_view text) {
  return map_code_points(text, [](std::string& out, char32_t c) {
    if (!was_mark(c)) append_utf8(out, c);
  });
}

std::string strip(std::string_view text, bool left, bool right) {
  std::size_t begin = text.size(), end = 0;
  for (std::size_t position = 0; position < text.size();) {
    const std::size_t start = position;
    if (is_whitespace(next_code_point(text, position))) continue;
    begin = std::min(begin, start);
    end = position;
  }
  if (end == 0) return left || right ? std::string() : std::string(text);
  return std::string(text.substr(left ? begin : 0, (right ? end : text.size()) - (left ? begin : 0)));
}

std::string apply_step(const NormalizerStep& step, std::string_view text) {
  switch (step.kind) {
    case NormalizerKind::nfc: return normalize(text, "nfc", UNORM2_COMPOSE);
    case NormalizerKind::nfd: return normalize(text, "nfc", UNORM2_DECOMPOSE);
    case NormalizerKind::nfkc: return normalize(text, "nfkc", UNORM2_COMPOSE);
    case NormalizerKind::nfkd: return normalize(text, "nfkc", UNORM2_DECOMPOSE);
    case NormalizerKind::lowercase: return lowercase(text);
    case NormalizerKind::strip: return strip(text, step.left, step.right);
    case NormalizerKind::strip_accents: return strip_accents(text);
    case NormalizerKind::prepend: return text.empty() ? std::string() : step.content + std::string(text);
    case NormalizerKind::replace: return step.pattern.replace(text, step.content);
  }
  fail_internal("unknown normalizer");
}

}  // namespace

Normalizer Normalizer::parse(const Json& json, const std::string& where) {
  Normalizer normalizer;
  parse_into(normalizer.steps_, json, where, 0);
  return normalizer;
}

std::string Normalizer::apply(std::string_view text) const {
  std::string out(text);
  for (const NormalizerStep& step : steps_) out = apply_step(step, out);
  return out;
}

}  // namespace metarm
