#include "metarm/text/unicode.h"

#include <unicode/uchar.h>

namespace metarm {

std::size_t utf8_length(unsigned char first) { return first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }

char32_t next_code_point(std::string_view text, std::size_t& position) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const std::size_t length = std::min(utf8_length(byte(0)), text.size() - position);
  char32_t code = length == 1 ? byte(0) : byte(0) & (0xFFU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) code = (code << 6U) | (byte(i) & 0x3FU);
  position += length;
  return code;
}

void append_utf8(std::string& text, char32_t c) {
  const auto push = [&](char32_t bits) { text += static_cast<char>(bits); };
  if (c < 0x80) {
    push(c);
  } else if (c < 0x800) {
    push(0xC0U | (c >> 6U));
    push(0x80U | (c & 0x3FU));
  } else if (c < 0x10000) {
    push(0xE0U | (c >> 12U));
    push(0x80U | ((c >> 6U) & 0x3FU));
    push(0x80U | (c & 0x3FU));
  } else {
    push(0xF0U | (c >> 18U));
    push(0x80U | ((c >> 12U) & 0x3FU));
    push(0x80U | ((c >> 6U) & 0x3FU));
    push(0x80U | (c & 0x3FU));
  }
}

namespace {
UChar32 icu(char32_t c) { return static_cast<UChar32>(c); }
}  // namespace

bool is_numeric(char32_t c) { return (U_GET_GC_MASK(icu(c)) & U_GC_N_MASK) != 0; }
bool is_whitespace(char32_t c) { return u_isUWhiteSpace(icu(c)) != 0; }
bool is_punctuation(char32_t c) {
  return c < 0x80 ? c > 0x20 && c < 0x7F && u_isalnum(icu(c)) == 0 : (U_GET_GC_MASK(icu(c)) & U_GC_P_MASK) != 0;
}
bool is_word(char32_t c) {
  return u_hasBinaryProperty(icu(c), UCHAR_ALPHABETIC) != 0 || (U_GET_GC_MASK(icu(c)) & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(icu(c), UCHAR_JOIN_CONTROL) != 0;
}

namespace {

// Length of the valid or longest broken sequence at `position`; `valid` says which.
std::size_t sequence_length(std::string_view bytes, std::size_t position, bool& valid) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[position + i]); };
  const unsigned char first = at(0);
  valid = first < 0x80;
  if (valid || first < 0xC2 || first > 0xF4) return 1;
  const std::size_t length = utf8_length(first);
  for (std::size_t i = 1; i < length; ++i) {
    if (position + i >= bytes.size()) return i;
    unsigned char low = 0x80, high = 0xBF;
    if (i == 1) {
      if (first == 0xE0) low = 0xA0;
      if (first == 0xED) high = 0x9F;
      if (first == 0xF0) low = 0x90;
      if (first == 0xF4) high = 0x8F;
    }
    if (at(i) < low || at(i) > high) return i;
  }
  valid = true;
  return length;
}

}  // namespace

std::string to_utf8_lossy(std::string_view bytes) {
  std::string text;
  for (std::size_t position = 0; position < bytes.size();) {
    bool valid = false;
    const std::size_t length = sequence_length(bytes, position, valid);
    text += valid ? bytes.substr(position, length) : std::string_view("\xEF\xBF\xBD");
    position += length;
  }
  return text;
}

}  // namespace metarm
