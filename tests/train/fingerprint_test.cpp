#include "metarm/train/fingerprint.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace metarm {
namespace {

std::string hash_of(const std::vector<EncodedPair>& pairs) { return fingerprint(pairs)["hash"].get<std::string>(); }

TEST(Fingerprint, EveryChangeOfTheRowsShows) {
  const std::vector<EncodedPair> pairs = {{{1, 2, 3}, {1, 2}, 0, 1, 0}, {{4}, {5, 6}, 0, 1, 1}};
  std::vector<std::vector<EncodedPair>> others(7, pairs);
  others[0][0].chosen[2] = 7;
  others[1][1].margin = 0.5;
  others[2][1].weight = 2;
  std::swap(others[3][0], others[3][1]);
  std::swap(others[4][0].chosen, others[4][0].rejected);
  others[5][0] = {{1, 2}, {3, 1, 2}, 0, 1, 0};  // the same tokens, cut elsewhere
  others[6].pop_back();
  std::set<std::string> hashes = {hash_of(pairs)};
  for (const auto& other : others) hashes.insert(hash_of(other));
  EXPECT_EQ(hashes.size(), others.size() + 1);
  EXPECT_EQ(hash_of(pairs), hash_of(std::vector<EncodedPair>(pairs)));
  EXPECT_EQ(fingerprint(pairs)["rows"], 2);
}

TEST(Fingerprint, OfGroups) {
  const std::vector<EncodedGroup> a = {{{{1}, {2, 3}}, 0}}, b = {{{{1, 2}, {3}}, 0}}, c = {{{{1}, {2}, {3}}, 0}};
  EXPECT_EQ(std::set<std::string>({fingerprint(a)["hash"], fingerprint(b)["hash"], fingerprint(c)["hash"]}).size(), 3u);
}

}  // namespace
}  // namespace metarm
