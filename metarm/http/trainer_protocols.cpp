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

namespace {

Json attribution_json(const ItemAttribution& attribution) {
  Json tokens = Json::array(), values = Json::array();
  for (const TokenValue& token : attribution.tokens) {
    tokens.push_back(token.token);
    values.push_back(token.value);
  }
  return {{"tokens", std::move(tokens)}, {"values", std::move(values)}, {"baseline_reward", attribution.baseline_reward}};
}

// Adds a row's numbers to its answer; `next` is its first text's, `after` what follows `reward` in the field's name.
void add_numbers(Json& answer, const Json& row, const std::vector<std::optional<float>>& numbers, std::size_t next,
                 const std::string& after) {
  if (!row.contains("responses")) {
    answer["reward" + after] = number_or_null(numbers[next]);
    return;
  }
  Json& list = answer["rewards" + after] = Json::array();
  for (std::size_t k = 0; k < row["responses"].size(); ++k) list.push_back(number_or_null(numbers[next + k]));
}

// Adds them to a row's answer; `next` is its first text's.
void add_attributions(Json& answer, const Json& row, const std::vector<ItemAttribution>& attributions, std::size_t next) {
  if (attributions.empty()) return;
  if (!row.contains("responses")) {
    answer["attribution"] = attribution_json(attributions[next]);
    return;
  }
  Json list = Json::array();
  for (std::size_t k = 0; k < row["responses"].size(); ++k) list.push_back(attribution_json(attributions[next + k]));
  answer["attributions"] = std::move(list);
}

}  // namespace

Json answer_rewards(const Json& body, Scoring& scoring) {
  std::vector<ScoreItem> items;
  if (flag(body, "attributions", false)) scoring.ask_for_attributions();
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
  std::size_t next = 0;
  for (const Json& row : rows) {
    Json answer;
    add_numbers(answer, row, scores.rewards, next, "");
    if (!scoring.reply().deviations.empty()) add_numbers(answer, row, scoring.reply().deviations, next, "_std");
    add_attributions(answer, row, scoring.reply().attributions, next);
    next += row.contains("responses") ? row["responses"].size() : 1;
    rewarded.push_back(std::move(answer));
  }
  return {{"model", scores.model},
          {"version", scoring.reply().version},
          {"rows", std::move(rewarded)},
          {"usage", {{"tokens", scores.total_tokens()}, {"truncated", scoring.reply().truncated}}}};
}

Json answer_get_reward(const Json& body, Scoring& scoring) {
  std::vector<ScoreItem> items = text_items(body["query"], TextForm::literal, "query");
  if (body.contains("prompts") && body["prompts"].is_array() && body["prompts"].size() == items.size())
    for (std::size_t i = 0; i < items.size(); ++i)
      if (const Json& prompt = body["prompts"][i]; prompt.is_string()) items[i].told_prompt = prompt.get<std::string>();
  const Scores scores = scoring.score(body, std::move(items));
  Json rewards = Json::array();
  for (const auto& reward : scores.rewards) rewards.push_back(*reward);
  Json logs = Json::object();
  if (!rewards.empty()) logs["dummy_scores"] = rewards;
  for (const auto& deviation : scoring.reply().deviations) logs["reward_std"].push_back(*deviation);
  return {{"rewards", rewards}, {"scores", rewards}, {"extra_logs", std::move(logs)}};
}

}  // namespace metarm
