// UTF-8 and the Unicode properties that tokenizers ask for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace metarm {

// The code point at text[position] of valid UTF-8; moves position past it.
char32_t next_code_point(std::string_view text, std::size_t& position);
void append_utf8(std::string& text, char32_t code_point);
std::size_t utf8_length(unsigned char first_byte);  // bytes of the character that starts so

bool is_numeric(char32_t c);      // categories Nd, Nl, No
bool is_whitespace(char32_t c);   // White_Space
bool is_punctuation(char32_t c);  // ASCII punctuation, or a category P*
bool is_word(char32_t c);         // \w: letters, marks, decimal digits, connectors

// Bytes that may not be UTF-8 to text, each longest broken part as one U+FFFD.
std::string to_utf8_lossy(std::string_view bytes);

}  // namespace metarm
