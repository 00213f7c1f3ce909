#include "metarm/serve/held_out.h"

#include <optional>
#include <string>
#include <utility>

namespace metarm {

namespace {

// Pairs and groups as texts to score, in an order that can be undone.
std::vector<ScoreItem> items_of(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups) {
  std::vector<ScoreItem> items;
  const auto add = [&](const std::optional<Content>& prompt, const Content& text, const std::string& where) {
    items.push_back({.prompt = prompt, .text = text, .where = where});
  };
  for (const Pair& pair : pairs) {
    add(pair.prompt, pair.chosen, pair.where);
    add(pair.prompt, pair.rejected, pair.where);
  }
  for (const ResponseGroup& group : groups)
    for (const Content& response : group.responses) add(group.prompt, response, "shift log");
  return items;
}

struct Scored {
  std::vector<PairRewards> pairs;
  std::vector<std::vector<float>> groups;
};

// What both models could score: pairs of which both texts, groups of which two responses fit.
std::pair<Scored, Scored> sort_out(const std::vector<std::optional<float>>& a, const std::vector<std::optional<float>>& b,
                                   std::size_t pairs, const std::vector<ResponseGroup>& groups) {
  std::pair<Scored, Scored> scored;
  std::size_t at = 0;
  for (std::size_t i = 0; i < pairs; ++i, at += 2)
    if (a[at] && a[at + 1] && b[at] && b[at + 1]) {
      scored.first.pairs.push_back({*a[at], *a[at + 1]});
      scored.second.pairs.push_back({*b[at], *b[at + 1]});
    }
  for (const ResponseGroup& group : groups) {
    std::vector<float> first, second;
    for (std::size_t k = 0; k < group.responses.size(); ++k, ++at)
      if (a[at] && b[at]) {
        first.push_back(*a[at]);
        second.push_back(*b[at]);
      }
    if (first.size() < 2) continue;
    scored.first.groups.push_back(std::move(first));
    scored.second.groups.push_back(std::move(second));
  }
  return scored;
}

}  // namespace

GuardMeasures measure_held_out(RewardServer& server, const std::shared_ptr<const ModelVersion>& served,
                               const std::shared_ptr<const ModelVersion>& candidate, const std::vector<Pair>& pairs,
                               const std::vector<ResponseGroup>& groups, const std::function<bool()>& stop) {
  const std::vector<ScoreItem> items = items_of(pairs, groups);
  auto [before, after] = sort_out(server.score_by(served, items, stop), server.score_by(candidate, items, stop), pairs.size(), groups);
  return {std::move(before.pairs), std::move(after.pairs), std::move(before.groups), std::move(after.groups)};
}

}  // namespace metarm
