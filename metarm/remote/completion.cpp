#include "metarm/remote/completion.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// What servers call an end of the response's own: nearly all stop, Together eos, TGI the other two. At the limit of tokens all say length.
const std::set<std::string> kOwnEnds = {"stop", "eos", "eos_token", "stop_sequence"};

// A whole number that may be missing or null.
std::optional<std::int64_t> optional_count(const Json& object, const char* field, const std::string& where) {
  const auto found = object.find(field);
  if (found == object.end() || found->is_null()) return std::nullopt;
  if (!found->is_number_integer() || *found < 0 || *found > std::numeric_limits<std::int32_t>::max())
    fail_input("{}: {}: expected a whole number of at least 0, got {}", where, field,
               found->is_number() ? found->dump() : json_type_name(*found));
  return found->get<std::int64_t>();
}

// Empty: the server does not say.
std::string parse_finish_reason(const Json& choice, const std::string& where) {
  if (!choice.contains("finish_reason") || choice["finish_reason"].is_null()) return {};
  return text_field(choice, "finish_reason", where);
}

bool has_reasoning(const Json& message) {
  const auto reasoning = message.find("reasoning_content");
  return reasoning != message.end() && reasoning->is_string() && !reasoning->get_ref<const std::string&>().empty();
}

// vLLM has null for what is cut before the answer begins, llama.cpp an empty text.
std::optional<std::string> parse_content(const Json& message, bool cut, const std::string& where) {
  if (require_field(message, "content", where).is_null()) return std::nullopt;
  std::string text = text_field(message, "content", where);
  if (cut && text.empty() && has_reasoning(message)) return std::nullopt;
  return text;
}

CompletionChoice parse_choice(const Json& choice, const std::string& where) {
  if (!choice.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(choice));
  CompletionChoice parsed;
  const std::string reason = parse_finish_reason(choice, where);
  if (choice.contains("message"))
    parsed.text = parse_content(choice["message"], reason == "length", where + ": message");
  else
    parsed.text = text_field(choice, "text", where);
  parsed.ended = reason.empty() || kOwnEnds.contains(reason);
  if (!parsed.ended && reason != "length") parsed.broken_by = reason;
  return parsed;
}

}  // namespace

Request completion_request(const ServerOptions& options, const Content& prompt, const CompletionSettings& settings, std::int64_t n) {
  Request request;
  request.body = {{"model", options.server_model},
                  {"n", n},
                  {"max_tokens", settings.max_new_tokens},
                  {"temperature", settings.temperature},
                  {"top_p", settings.top_p}};
  if (settings.seed) request.body["seed"] = *settings.seed;
  if (!settings.stop.empty()) request.body["stop"] = settings.stop;
  if (!options.strict_openai) {
    request.body["top_k"] = settings.top_k > 0 ? settings.top_k : -1;  // what all three take for: no bound
    request.body["min_p"] = 0.0;
    request.body["repetition_penalty"] = 1.0;
  }
  const bool is_text = std::holds_alternative<std::string>(prompt);
  request.path = is_text ? "/completions" : "/chat/completions";
  request.body[is_text ? "prompt" : "messages"] = to_json(prompt);
  return request;
}

Completion parse_completion(const Json& answer, const std::string& where) {
  if (answer.is_object() && answer.contains("error") && !answer["error"].is_null())
    fail_input("{}: expected an answer, got an error {}", where, quote_reason(answer.dump()));
  const Json& choices = require_field(answer, "choices", where);
  if (!choices.is_array()) fail_input("{}: choices: expected a list, got {}", where, json_type_name(choices));
  if (choices.empty()) fail_input("{}: choices: expected at least one, got none", where);
  std::vector<std::pair<std::int64_t, CompletionChoice>> by_index;
  for (const Json& choice : choices) {
    const std::string place = fmt::format("{}: choices[{}]", where, by_index.size());
    CompletionChoice parsed = parse_choice(choice, place);
    by_index.emplace_back(optional_count(choice, "index", place).value_or(0), std::move(parsed));
  }
  std::ranges::stable_sort(by_index, {}, [](const auto& each) { return each.first; });
  Completion completion;
  for (auto& [index, choice] : by_index) completion.choices.push_back(std::move(choice));
  const auto usage = answer.find("usage");
  if (usage == answer.end() || usage->is_null()) return completion;
  if (!usage->is_object()) fail_input("{}: usage: expected an object, got {}", where, json_type_name(*usage));
  completion.prompt_tokens = optional_count(*usage, "prompt_tokens", where + ": usage").value_or(0);
  completion.answer_tokens = optional_count(*usage, "completion_tokens", where + ": usage").value_or(0);
  return completion;
}

const std::string& require_text(const CompletionChoice& choice, const std::string& where) {
  if (!choice.broken_by.empty()) fail_input("{}: finish_reason: expected stop or length, got {}", where, quote_reason(choice.broken_by));
  if (!choice.text)
    fail_input("{}: content: expected text, got none, as where a model is cut while it still reasons; raise --max-new-tokens", where);
  return *choice.text;
}

}  // namespace metarm
