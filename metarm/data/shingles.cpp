#include "metarm/data/shingles.h"

#include <algorithm>
#include <string>

#include "metarm/base/random.h"
#include "metarm/data/words.h"

namespace metarm {

namespace {

std::string lower_case(std::string_view word) {
  std::string lower(word);
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

}  // namespace

std::vector<std::uint64_t> list_shingles(std::string_view text, std::int64_t words) {
  const std::vector<std::string_view> all = list_words(text);
  if (all.empty()) return {};
  const std::size_t length = std::min(static_cast<std::size_t>(words), all.size());
  std::vector<std::uint64_t> shingles;
  for (std::size_t first = 0; first + length <= all.size(); ++first) {
    std::string run;
    for (std::size_t i = first; i < first + length; ++i) run += lower_case(all[i]) + ' ';
    shingles.push_back(derive_seed(0, run));
  }
  std::ranges::sort(shingles);
  const auto repeated = std::ranges::unique(shingles);
  shingles.erase(repeated.begin(), repeated.end());
  return shingles;
}

double resemblance(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b) {
  std::vector<std::uint64_t> both;
  std::ranges::set_intersection(a, b, std::back_inserter(both));
  const std::size_t either = a.size() + b.size() - both.size();
  return either == 0 ? 1 : static_cast<double>(both.size()) / static_cast<double>(either);
}

}  // namespace metarm
