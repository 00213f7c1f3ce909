#include "metarm/serve/held_out.h"

#include <optional>
#include <string>
#include <utility>

namespace metarm {

std::vector<ScoreItem> items_of(const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups) {
  std::vector<ScoreItem> items;
  const auto add = [&](const std::optional<Content>& prompt, const Content& text, const std::string& where,
                       TextForm form = TextForm::response) {
    items.push_back({.prompt = prompt, .text = text, .form = form, .where = where});
  };
  for (const Pair& pair : pairs) {
    add(pair.prompt, pair.chosen, pair.where);
    add(pair.prompt, pair.rejected, pair.where);
  }
  for (const ResponseGroup& group : groups)
    for (const Content& response : group.responses) add(group.prompt, response, "shift log", group.form);
  return items;
}

GuardMeasures measure_held_out(RewardServer& server, const std::shared_ptr<const ModelVersion>& served,
                               const std::shared_ptr<const ModelVersion>& candidate, const std::vector<std::optional<float>>& first,
                               const std::vector<Pair>& pairs, const std::vector<ResponseGroup>& groups,
                               const std::function<bool()>& stop) {
  const std::vector<ScoreItem> items = items_of(pairs, groups);
  const std::vector<std::optional<float>> before = server.score_by(served, items, stop), after = server.score_by(candidate, items, stop);
  GuardMeasures measures;
  std::size_t at = 0;
  for (std::size_t i = 0; i < pairs.size(); ++i, at += 2) {
    const auto fits = [&](const std::vector<std::optional<float>>& rewards) { return rewards[at] && rewards[at + 1]; };
    if (!fits(before) || !fits(after) || (!first.empty() && !fits(first))) continue;
    measures.served_pairs.push_back({*before[at], *before[at + 1]});
    measures.candidate_pairs.push_back({*after[at], *after[at + 1]});
    if (!first.empty()) measures.first_pairs.push_back({*first[at], *first[at + 1]});
  }
  for (const ResponseGroup& group : groups) {
    std::vector<float> served_rewards, candidate_rewards;
    for (std::size_t k = 0; k < group.responses.size(); ++k, ++at)
      if (before[at] && after[at]) {
        served_rewards.push_back(*before[at]);
        candidate_rewards.push_back(*after[at]);
      }
    if (served_rewards.size() < 2) continue;
    measures.served_groups.push_back(std::move(served_rewards));
    measures.candidate_groups.push_back(std::move(candidate_rewards));
  }
  return measures;
}

}  // namespace metarm
