// metarm's own protocol, and OpenRLHF's.
#include <fmt/format.h>

#include "metarm/http/protocol_parts.h"
#include "metarm/http/protocols.h"

namespace metarm {

namespace {

Json number_or_null(const std::optional<float>& reward) { return reward ? Json(*reward) : Json(nullptr); }

// One text of a row; a prompt comes with a response alone.
ScoreItem row_item(const Json& row, const char* field, const Json& content, std::string where) {
  if (row.contains("prompt")) return pair_item(row["prompt"], content, std::move(where));
  return {{}, parse_content(content, field, where), TextForm::response, std::move(where)};
}

const char* single_field(const Json& row) { return row.contains("response") ? "response" : row.contains("messages") ? "messages" : "text"; }

}  // namespace

Json answer_rewards(const Json& body, Scoring& scoring) {
  std::vector<ScoreItem> items;
  const Json& rows = body["rows"];
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].contains("responses")) {
      const char* field = single_field(rows[i]);
      items.push_back(row_item(rows[i], field, rows[i][field], fmt::format("rows[{}].{}", i, field)));
      continue;
    }
    const Json& responses = rows[i]["responses"];
    for (std::size_t k = 0; k < responses.size(); ++k)
      items.push_back(row_item(rows[i], "response", responses[k], fmt::format("rows[{}].responses[{}]", i, k)));
  }
  const Scores scores = scoring.score_any(body, std::move(items));

  Json rewarded = Json::array();
  auto next = scores.rewards.begin();
  for (const Json& row : rows) {
    if (!row.contains("responses")) {
      rewarded.push_back({{"reward", number_or_null(*next++)}});
      continue;
    }
    Json rewards = Json::array();
    for (std::size_t k = 0; k < row["responses"].size(); ++k) rewards.push_back(number_or_null(*next++));
    rewarded.push_back({{"rewards", std::move(rewards)}});
  }
  return {{"model", scores.model},
          {"version", scoring.reply().version},
          {"rows", std::move(rewarded)},
          {"usage", {{"tokens", scores.total_tokens()}}}};
}

Json answer_get_reward(const Json& body, Scoring& scoring) {
  const Scores scores = scoring.score(body, text_items(body["query"], TextForm::literal, "query"));
  Json rewards = Json::array();
  for (const auto& reward : scores.rewards) rewards.push_back(*reward);
  Json logs = Json::object();
  if (!rewards.empty()) logs["dummy_scores"] = rewards;
  return {{"rewards", rewards}, {"scores", rewards}, {"extra_logs", std::move(logs)}};
}

}  // namespace metarm
