// Words of a text, found by a plain rule.
#pragma once

#include <string_view>
#include <vector>

namespace metarm {

// Runs without white space; they point into `text`.
std::vector<std::string_view> list_words(std::string_view text);

}  // namespace metarm
