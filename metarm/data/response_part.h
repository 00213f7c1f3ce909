// The part of a pair's text that is the response, whatever form the row has: a text after its prompt, a whole text, messages.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "metarm/data/rows.h"

namespace metarm {

// What follows the prompt; of a whole text without an explicit one, what follows implicit_prompt (data/rows.h); of messages, the last.
std::string response_text(const std::optional<Content>& prompt, const Content& response);

// The same content with another text in its place.
Content with_response_text(const std::optional<Content>& prompt, const Content& response, const std::string& text);

// Characters (code points) of response_text.
std::int64_t response_length(const std::optional<Content>& prompt, const Content& response);

// One text for each prompt: equal for rows that answer the same one.
std::string prompt_key(const Pair& pair);

}  // namespace metarm
