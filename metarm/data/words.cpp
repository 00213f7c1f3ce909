#include "metarm/data/words.h"

#include <cstddef>

#include "metarm/text/unicode.h"

namespace metarm {

std::vector<std::string_view> list_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0, position = 0;
  const auto add = [&](std::size_t end) {
    if (end > begin) words.push_back(text.substr(begin, end - begin));
  };
  while (position < text.size()) {
    const std::size_t start = position;
    if (!is_whitespace(next_code_point(text, position))) continue;
    add(start);
    begin = position;
  }
  add(text.size());
  return words;
}

}  // namespace metarm
