#include "metarm/meta/group_choice.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <utility>

namespace metarm {

namespace {

using Trigram = std::array<TokenId, 3>;

std::size_t common_prefix(std::span<const TokenIds> sequences) {
  std::size_t length = sequences.front().size();
  for (const TokenIds& other : sequences.subspan(1))
    length = std::min(length, static_cast<std::size_t>(std::ranges::mismatch(sequences.front(), other).in1 - sequences.front().begin()));
  return length;
}

// Of a text shorter than three tokens, one that is filled up.
std::set<Trigram> trigrams_of(std::span<const TokenId> tokens) {
  std::set<Trigram> found;
  if (tokens.size() < 3) {
    Trigram whole = {-1, -1, -1};
    std::ranges::copy(tokens, whole.begin());
    return {whole};
  }
  for (std::size_t i = 0; i + 3 <= tokens.size(); ++i) found.insert({tokens[i], tokens[i + 1], tokens[i + 2]});
  return found;
}

double similarity(const std::set<Trigram>& a, const std::set<Trigram>& b) {
  std::size_t both = 0;
  for (const Trigram& trigram : a) both += b.count(trigram);
  return static_cast<double>(both) / static_cast<double>(a.size() + b.size() - both);
}

std::int64_t drop_from(EncodedGroup& group, double share) {
  const std::size_t prefix = common_prefix(group.responses), before = group.responses.size();
  std::vector<std::set<Trigram>> kept_trigrams;
  EncodedGroup kept{{}, group.row, {}};
  for (std::size_t i = 0; i < before; ++i) {
    std::set<Trigram> trigrams = trigrams_of(std::span(group.responses[i]).subspan(prefix));
    if (std::ranges::any_of(kept_trigrams, [&](const std::set<Trigram>& other) { return similarity(trigrams, other) > share; })) continue;
    kept_trigrams.push_back(std::move(trigrams));
    kept.responses.push_back(std::move(group.responses[i]));
    if (!group.places.empty()) kept.places.push_back(group.places[i]);
  }
  group = std::move(kept);
  return static_cast<std::int64_t>(before - group.responses.size());
}

double mean_difference(std::span<const float> rewards) {
  double sum = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) sum += std::abs(static_cast<double>(rewards[i]) - rewards[j]);
  return sum * 2 / static_cast<double>(rewards.size() * (rewards.size() - 1));
}

}  // namespace

std::int64_t drop_near_duplicates(std::vector<EncodedGroup>& groups, double share) {
  std::int64_t dropped = 0;
  for (EncodedGroup& group : groups) dropped += drop_from(group, share);
  std::erase_if(groups, [](const EncodedGroup& group) { return group.responses.size() < 2; });
  return dropped;
}

std::vector<std::int64_t> hardest_groups(std::span<const std::vector<float>> rewards, std::span<const std::string> modes, double share) {
  std::map<std::string, std::vector<std::pair<double, std::int64_t>>> by_mode;
  for (std::size_t i = 0; i < rewards.size(); ++i)
    by_mode[modes[i]].emplace_back(mean_difference(rewards[i]), static_cast<std::int64_t>(i));
  std::vector<std::int64_t> chosen;
  for (auto& [mode, groups] : by_mode) {
    std::ranges::sort(groups);
    const auto count = static_cast<std::size_t>(std::ceil(share * static_cast<double>(groups.size())));
    for (std::size_t i = 0; i < std::min(count, groups.size()); ++i) chosen.push_back(groups[i].second);
  }
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace metarm
