#include "metarm/data/rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr const char* kKnownRows =
    "expected a pair (chosen, rejected, optional prompt), a response group (prompt, responses), a prompt, or a summarization comparison "
    "(info, summaries, choice)";
constexpr std::array<std::string_view, 3> kTextForms = {"response", "written", "literal"};  // in the enum's order
constexpr std::string_view kAssistantTurn = "\n\nAssistant:";

Message parse_message(const Json& value, const std::string& where) {
  if (!value.is_object()) fail_input("{}: expected a message {{role, content}}, got {}", where, json_type_name(value));
  Message message{text_field(value, "role", where), text_field(value, "content", where)};
  if (message.role != "system" && message.role != "user" && message.role != "assistant")
    fail_input("{}: role: expected system, user or assistant, got {}", where, message.role);
  return message;
}

double optional_number(const Json& row, const char* field, double otherwise, const std::string& where) {
  if (!row.contains(field) || row[field].is_null()) return otherwise;
  const double value = number_field(row, field, where);
  if (!std::isfinite(value)) fail_input("{}: {}: expected a finite number, got {}", where, field, value);
  return value;
}

std::string optional_label(const Json& row, const char* field, const std::string& where) {
  if (!row.contains(field) || row[field].is_null()) return {};
  const Json& value = row[field];
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  fail_input("{}: {}: expected text or a number, got {}", where, field, json_type_name(value));
}

std::int64_t optional_round(const Json& row, const std::string& where) {
  if (!row.contains("round") || row["round"].is_null()) return -1;
  const Json& round = row["round"];
  if (!round.is_number_integer() || round < 0 || round > std::numeric_limits<std::int32_t>::max())
    fail_input("{}: round: expected a whole number of at least 0, got {}", where, round.dump());
  return round.get<std::int64_t>();
}

Content content_field(const Json& row, const char* field, const std::string& where) {
  return parse_content(require_field(row, field, where), field, where);
}

// OpenAI's comparisons of summaries, in the prompt format that their models were trained with.
Pair parse_comparison(const JsonRow& row) {
  const std::string where = row.where();
  const Json& info = require_field(row.value, "info", where);
  const Json& summaries = require_field(row.value, "summaries", where);
  if (!info.is_object()) fail_input("{}: info: expected an object, got {}", where, json_type_name(info));
  if (!summaries.is_array() || summaries.size() != 2)
    fail_input("{}: summaries: expected a list of two, got {}", where,
               summaries.is_array() ? fmt::format("{}", summaries.size()) : std::string(json_type_name(summaries)));
  const Json& choice = require_field(row.value, "choice", where);
  if (choice != 0 && choice != 1) fail_input("{}: choice: expected 0 or 1, got {}", where, choice.dump());

  const auto summary = [&](int index) {
    std::string text = text_field(summaries[static_cast<std::size_t>(index)], "text", where + ": summaries");
    return text.starts_with(' ') ? text : " " + text;
  };
  const std::string in_info = where + ": info";
  Pair pair;
  pair.prompt = fmt::format("SUBREDDIT: r/{}\n\nTITLE: {}\n\nPOST: {}\n\nTL;DR:", text_field(info, "subreddit", in_info),
                            text_field(info, "title", in_info), text_field(info, "post", in_info));
  const int chosen = choice.get<int>();
  pair.chosen = summary(chosen);
  pair.rejected = summary(1 - chosen);
  return pair;
}

template <class Row>
Rows<Row> read_rows(const std::vector<std::string>& files, BadRows bad_rows, const std::function<Row(const JsonRow&)>& parse) {
  Rows<Row> rows;
  rows.report = for_each_row(files, bad_rows, [&](const JsonRow& row) { rows.rows.push_back(parse(row)); });
  return rows;
}

bool is_comparison(const Json& row) { return row.contains("summaries") && row.contains("choice"); }

template <class List>
void keep_places(List& list, std::span<const std::size_t> places) {
  if (list.empty()) return;
  List kept;
  for (const std::size_t place : places) kept.push_back(list[place]);
  list = std::move(kept);
}

}  // namespace

bool is_empty(const Content& content) {
  return std::visit([](const auto& value) { return value.empty(); }, content);
}

Content parse_content(const Json& value, const char* field, const std::string& where) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) fail_input("{}: {}: expected text or a list of messages, got {}", where, field, json_type_name(value));
  if (value.empty()) fail_input("{}: {}: expected at least one message, got an empty list", where, field);
  Conversation conversation;
  for (const Json& message : value)
    conversation.push_back(parse_message(message, fmt::format("{}: {}[{}]", where, field, conversation.size())));
  return conversation;
}

Json to_json(const Content& content) {
  if (const auto* text = std::get_if<std::string>(&content)) return *text;
  Json list = Json::array();
  for (const Message& message : std::get<Conversation>(content)) list.push_back({{"role", message.role}, {"content", message.content}});
  return list;
}

Content implicit_prompt(const Content& whole) {
  if (const auto* conversation = std::get_if<Conversation>(&whole)) return Conversation(conversation->begin(), conversation->end() - 1);
  const std::string& text = std::get<std::string>(whole);
  const std::size_t turn = text.rfind(kAssistantTurn);
  return turn == std::string::npos ? std::string() : text.substr(0, turn + kAssistantTurn.size());
}

Pair parse_pair(const JsonRow& row) {
  const std::string where = row.where();
  Pair pair;
  if (is_comparison(row.value)) {
    pair = parse_comparison(row);
  } else {
    if (row.value.contains("prompt")) pair.prompt = content_field(row.value, "prompt", where);
    pair.chosen = content_field(row.value, "chosen", where);
    pair.rejected = content_field(row.value, "rejected", where);
  }
  pair.margin = optional_number(row.value, "margin", 0, where);
  pair.weight = optional_number(row.value, "weight", 1, where);
  if (pair.weight < 0) fail_input("{}: weight: expected a number of at least 0, got {}", where, pair.weight);
  const auto chosen_reward = row.value.find("chosen_reward"), rejected_reward = row.value.find("rejected_reward");
  if (chosen_reward != row.value.end() && chosen_reward->is_number() && rejected_reward != row.value.end() && rejected_reward->is_number())
    pair.reward_difference = chosen_reward->get<double>() - rejected_reward->get<double>();
  pair.subset = optional_label(row.value, "subset", where);
  pair.id = optional_label(row.value, "id", where);
  pair.where = where;
  return pair;
}

Prompt parse_prompt(const JsonRow& row) {
  const std::string where = row.where();
  Prompt prompt;
  if (is_comparison(row.value))
    prompt.prompt = *parse_comparison(row).prompt;
  else if (row.value.contains("prompt"))
    prompt.prompt = content_field(row.value, "prompt", where);
  else if (row.value.contains("chosen"))
    prompt.prompt = implicit_prompt(content_field(row.value, "chosen", where));
  else
    fail_input("{}: prompt: expected text or a list of messages, got no such field", where);
  if (is_empty(prompt.prompt)) fail_input("{}: prompt: expected some text, got none", where);
  prompt.subset = optional_label(row.value, "subset", where);
  prompt.id = optional_label(row.value, "id", where);
  prompt.where = where;
  return prompt;
}

ResponseGroup parse_response_group(const JsonRow& row, std::int64_t min_responses) {
  const std::string where = row.where();
  ResponseGroup group;
  group.prompt = content_field(row.value, "prompt", where);
  const Json& responses = require_field(row.value, "responses", where);
  if (!responses.is_array()) fail_input("{}: responses: expected a list, got {}", where, json_type_name(responses));
  if (static_cast<std::int64_t>(responses.size()) < min_responses)
    fail_input("{}: responses: expected at least {}, got {}", where, min_responses, responses.size());
  for (const Json& response : responses)
    group.responses.push_back(parse_content(response, fmt::format("responses[{}]", group.responses.size()).c_str(), where));

  if (row.value.contains("rewards") && !row.value["rewards"].is_null()) {
    const Json& rewards = row.value["rewards"];
    if (!rewards.is_array() || rewards.size() != responses.size())
      fail_input("{}: rewards: expected a list of {} numbers, one a response, got {}", where, responses.size(),
                 rewards.is_array() ? fmt::format("{}", rewards.size()) : std::string(json_type_name(rewards)));
    for (const Json& reward : rewards) {
      if (!reward.is_number() && !reward.is_null()) fail_input("{}: rewards: expected numbers, got {}", where, json_type_name(reward));
      group.rewards.push_back(reward.is_null() ? std::numeric_limits<double>::quiet_NaN() : reward.get<double>());
    }
  }
  if (row.value.contains("ended") && !row.value["ended"].is_null()) {
    const Json& ended = row.value["ended"];
    if (!ended.is_array() || ended.size() != responses.size() || !std::ranges::all_of(ended, &Json::is_boolean))
      fail_input("{}: ended: expected a list of {} times true or false, one a response, got {}", where, responses.size(), ended.dump());
    group.ended = ended.get<std::vector<bool>>();
  }
  group.policy = optional_label(row.value, "policy", where);
  group.round = optional_round(row.value, where);
  group.subset = optional_label(row.value, "subset", where);
  group.id = optional_label(row.value, "id", where);
  group.form = parse_text_form(optional_label(row.value, "text_form", where), where);
  group.where = where;
  return group;
}

void keep_responses(ResponseGroup& group, std::span<const std::size_t> places) {
  keep_places(group.responses, places);
  keep_places(group.rewards, places);
  keep_places(group.ended, places);
}

std::string_view to_text(TextForm form) { return kTextForms[static_cast<std::size_t>(form)]; }

TextForm parse_text_form(const std::string& name, const std::string& where) {
  if (name.empty()) return TextForm::response;
  const auto found = std::ranges::find(kTextForms, name);
  if (found == kTextForms.end()) fail_input("{}: text_form: expected one of {}, got {}", where, fmt::join(kTextForms, ", "), name);
  return static_cast<TextForm>(found - kTextForms.begin());
}

Text parse_text(const JsonRow& row) {
  const std::string where = row.where();
  Text text;
  if (row.value.contains("prompt")) text.prompt = content_field(row.value, "prompt", where);
  const char* field = row.value.contains("response") ? "response" : row.value.contains("messages") ? "messages" : "text";
  text.text = content_field(row.value, field, where);
  text.where = where;
  return text;
}

Json to_json(const ResponseGroup& group) {
  Json row = {{"prompt", to_json(group.prompt)}, {"responses", Json::array()}};
  for (const Content& response : group.responses) row["responses"].push_back(to_json(response));
  if (!group.rewards.empty()) row["rewards"] = group.rewards;
  if (!group.ended.empty()) row["ended"] = group.ended;
  if (!group.policy.empty()) row["policy"] = group.policy;
  if (group.round >= 0) row["round"] = group.round;
  if (!group.subset.empty()) row["subset"] = group.subset;
  if (!group.id.empty()) row["id"] = group.id;
  if (group.form != TextForm::response) row["text_form"] = to_text(group.form);
  return row;
}

Rows<Pair> read_pairs(const std::vector<std::string>& files, BadRows bad_rows) {
  return read_rows<Pair>(files, bad_rows, [](const JsonRow& row) {
    Pair pair = parse_pair(row);
    if (pair.chosen == pair.rejected) fail_input("{}: chosen and rejected are equal", pair.where);
    return pair;
  });
}

Rows<Prompt> read_prompts(const std::vector<std::string>& files, BadRows bad_rows) {
  return read_rows<Prompt>(files, bad_rows, parse_prompt);
}

Rows<ResponseGroup> read_response_groups(const std::vector<std::string>& files, BadRows bad_rows, std::int64_t min_responses) {
  return read_rows<ResponseGroup>(files, bad_rows, [&](const JsonRow& row) { return parse_response_group(row, min_responses); });
}

RowKind recognise_row(const JsonRow& row) {
  const Json& value = row.value;
  if (is_comparison(value) || (value.contains("chosen") && value.contains("rejected"))) return RowKind::pair;
  for (const auto& [field, other] : {std::pair("chosen", "rejected"), std::pair("rejected", "chosen")})
    if (value.contains(field) && !value.contains("responses")) require_field(value, other, row.where());
  if (value.contains("responses")) return RowKind::response_group;
  if (value.contains("text") || value.contains("messages") || value.contains("response")) return RowKind::text;
  fail_input("{}: {}; or text, messages, or prompt with response; got none of them", row.where(), kKnownRows);
}

}  // namespace metarm
