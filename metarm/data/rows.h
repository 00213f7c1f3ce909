// Rows on disk to pairs, prompts and response groups. A row's kind is recognised by its fields:
//
//   pair, explicit prompt      prompt, chosen, rejected; optional margin, weight, subset, id, chosen_reward and rejected_reward
//   pair, implicit prompt      chosen, rejected (HH-RLHF texts or whole message lists); the same optional fields
//   pair, summarization        OpenAI's info.{post,title,subreddit}, summaries[2].text, choice, optional worker, extra.confidence
//   response group             prompt, responses; optional rewards, ended, policy, round, subset, id,
//                              text_form (response, written, literal)
//   prompt                     prompt; optional subset, id
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/text/message.h"

namespace metarm {

// A text, or a list of messages. In a response, a message list is what follows the prompt (usually one assistant message), or the whole
// conversation when it begins with a system or user message, as in UltraFeedback.
using Content = std::variant<std::string, Conversation>;
bool is_empty(const Content& content);
Content parse_content(const Json& value, const char* field,
                      const std::string& where);  // input error: expected text or a list of {role, content}
Json to_json(const Content& content);

struct Pair {
  std::optional<Content> prompt;  // absent: chosen and rejected are whole texts or whole conversations
  Content chosen, rejected;
  double margin = 0;
  double weight = 1;
  std::string subset, id;
  std::string where;                             // file:line
  std::optional<double> reward_difference = {};  // chosen_reward - rejected_reward, where the row has been scored
};

struct Prompt {
  Content prompt;
  std::string subset, id;
  std::string where;
};

// How a text becomes tokens. Conversations always do by the chat template.
enum class TextForm {
  response,  // as `metarm score` does it (docs/tokens.md): joined to its prompt, with start and end token
  written,   // as it stands, after the tokenizer's start token; nothing is appended
  literal,   // as it stands, with the special tokens that it spells itself
};

struct ResponseGroup {
  Content prompt;
  std::vector<Content> responses;  // at least one; what needs two says so itself
  std::vector<double> rewards;     // empty, or one a response
  std::vector<bool> ended;         // empty, or one a response: by an end token or a stop text, not by a limit
  std::string policy, subset, id;
  std::int64_t round = -1;  // -1: not given
  TextForm form = TextForm::response;
  std::string where;

  bool has_ended(std::size_t place) const { return ended.empty() || ended[place]; }
};
// Leaves the responses at `places`, in that order, with what the group says of each.
void keep_responses(ResponseGroup& group, std::span<const std::size_t> places);

// A text to score or to learn: `text` or `messages` whole, or a `response` to a `prompt`.
struct Text {
  std::optional<Content> prompt;
  Content text;
  std::string where;
};

template <class Row>
struct Rows {
  std::vector<Row> rows;
  BadRowReport report;
};

// Pairs to learn from: equal chosen and rejected is a bad row here (input error `file:line: chosen and rejected are equal`). Margins and
// weights must be finite, weights not negative.
Rows<Pair> read_pairs(const std::vector<std::string>& files, BadRows bad_rows);
Rows<Prompt> read_prompts(const std::vector<std::string>& files, BadRows bad_rows);  // also takes pairs' and groups' prompts
Rows<ResponseGroup> read_response_groups(const std::vector<std::string>& files, BadRows bad_rows, std::int64_t min_responses);

// The prompt of a whole text, up to and with its last "\n\nAssistant:" (empty where it has none), or of a whole conversation: all but its
// last message.
Content implicit_prompt(const Content& whole);

Pair parse_pair(const JsonRow& row);
Prompt parse_prompt(const JsonRow& row);
ResponseGroup parse_response_group(const JsonRow& row, std::int64_t min_responses);
Text parse_text(const JsonRow& row);  // of kind RowKind::text
Json to_json(const ResponseGroup& group);
std::string_view to_text(TextForm form);
TextForm parse_text_form(const std::string& name, const std::string& where);  // empty: response

// What a row holds for `score`: the texts to score, and the kind that decides the field the scores go into.
enum class RowKind { pair, response_group, text };  // reward pairs; `responses`; one `text`, `messages` or prompt + response
RowKind recognise_row(const JsonRow& row);          // input error that lists the known fields

}  // namespace metarm
