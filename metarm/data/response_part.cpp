#include "metarm/data/response_part.h"

#include <algorithm>

namespace metarm {

std::string response_text(const std::optional<Content>& prompt, const Content& response) {
  if (const auto* conversation = std::get_if<Conversation>(&response)) return conversation->back().content;
  const std::string& whole = std::get<std::string>(response);
  return prompt ? whole : whole.substr(std::get<std::string>(implicit_prompt(response)).size());
}

Content with_response_text(const std::optional<Content>& prompt, const Content& response, const std::string& text) {
  if (const auto* conversation = std::get_if<Conversation>(&response)) {
    Conversation changed = *conversation;
    changed.back().content = text;
    return changed;
  }
  if (prompt) return text;
  return std::get<std::string>(implicit_prompt(response)) + text;
}

std::int64_t response_length(const std::optional<Content>& prompt, const Content& response) {
  return std::ranges::count_if(response_text(prompt, response),
                               [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });  // bytes that begin one
}

std::string prompt_key(const Pair& pair) { return to_json(pair.prompt ? *pair.prompt : implicit_prompt(pair.chosen)).dump(); }

}  // namespace metarm
