// Names and numbers of a response in the place of others: a text that reads as well and says something false.
//
// A name is a run of words that begin with a capital and do not begin a sentence ("I" is none), or one of these again where a sentence
// begins; a number is a word of digits, points, commas and colons, but not that of a list's item ("1. Milk", "2) Tea"). Scripts without
// capitals have no names here, and in German every noun is one.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/random.h"

namespace metarm {

enum class NameKind { name, number };
struct FoundName {
  NameKind kind;
  std::string_view text;  // points into the response
};
std::vector<FoundName> list_names(std::string_view text);

// What to put in: the distinct names and numbers of many responses.
struct NamePool {
  std::vector<std::string> names, numbers;
};
NamePool make_name_pool(const std::vector<std::string>& texts);

// round(strength · n) of the n distinct names and numbers, one at least, each replaced wherever it stands by one of its kind from the pool
// that is not in the text. Nothing where there is none to replace or nothing to put in.
std::optional<std::string> swap_names(std::string_view text, double strength, const NamePool& pool, RandomStream stream);

}  // namespace metarm
