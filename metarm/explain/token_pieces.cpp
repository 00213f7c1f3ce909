#include "metarm/explain/token_pieces.h"

#include <algorithm>
#include <span>

namespace metarm {

namespace {

bool continues_character(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Bytes of `whole` that `part` has too, in whole characters. A part that ends within a character ends in a replacement for it.
std::size_t agreed_bytes(const std::string& whole, const std::string& part) {
  auto agreed = static_cast<std::size_t>(std::ranges::mismatch(whole, part).in1 - whole.begin());
  while (agreed > 0 && agreed < whole.size() && continues_character(whole[agreed])) --agreed;
  return agreed;
}

}  // namespace

TokenPieces token_pieces(const Tokenizer& tokenizer, const TokenIds& tokens) {
  const std::string whole = tokenizer.decode(tokens, false);
  TokenPieces pieces;
  std::size_t begin = 0;
  std::int64_t characters = 0;
  for (std::size_t i = 1; i <= tokens.size(); ++i) {
    const std::size_t end =
        i < tokens.size() ? std::max(begin, agreed_bytes(whole, tokenizer.decode(std::span(tokens).first(i), false))) : whole.size();
    const std::string& text = pieces.texts.emplace_back(whole.substr(begin, end - begin));
    pieces.offsets.push_back(characters);
    characters += std::ranges::count_if(text, [](char byte) { return !continues_character(byte); });
    begin = end;
  }
  return pieces;
}

}  // namespace metarm
