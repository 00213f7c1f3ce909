#include "metarm/collect/passages.h"

#include <algorithm>
#include <cmath>

#include "metarm/text/unicode.h"

namespace metarm {

namespace {

constexpr std::u32string_view kEnds = U".!?", kWideEnds = U"。！？", kClosing = U"\"')]}”’»";

bool is_one_of(char32_t c, std::u32string_view set) { return set.find(c) != std::u32string_view::npos; }

// Leaves out white space at both ends.
std::string_view trim(std::string_view text) {
  const std::vector<std::string_view> words = list_words(text);
  if (words.empty()) return {};
  return text.substr(offset_in(text, words.front()), offset_in(text, words.back()) + words.back().size() - offset_in(text, words.front()));
}

// "12", as before the point of a list's item.
bool is_item_number(std::string_view text) {
  return text.size() < 8 && std::ranges::all_of(trim(text), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

std::vector<std::string_view> list_sentences(std::string_view text) {
  std::vector<std::string_view> sentences;
  std::size_t begin = 0, position = 0;
  bool ended = false;  // where white space comes next
  const auto add = [&](std::size_t end) {
    const std::string_view sentence = trim(text.substr(begin, end - begin));
    if (!sentence.empty()) sentences.push_back(sentence);
    begin = position;
    ended = false;
  };
  while (position < text.size()) {
    const std::size_t start = position;
    const char32_t c = next_code_point(text, position);
    if (c == '\n' || (ended && is_whitespace(c)))
      add(start);
    else if (is_one_of(c, kWideEnds))
      add(position);
    else
      ended = (is_one_of(c, kEnds) && !is_item_number(text.substr(begin, start - begin))) || (ended && is_one_of(c, kClosing));
  }
  add(text.size());
  return sentences;
}

std::size_t share_of(double share, std::size_t count, std::size_t low, std::size_t high) {
  const auto wanted = static_cast<std::size_t>(std::lround(share * static_cast<double>(count)));
  return std::clamp(wanted, low, high);
}

}  // namespace metarm
