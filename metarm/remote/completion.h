// The two calls that an OpenAI-compatible server is asked: texts go to /completions, conversations to /chat/completions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/remote/client.h"
#include "metarm/remote/server.h"

namespace metarm {

struct CompletionSettings {
  std::int64_t max_new_tokens = 128;
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t top_k = 0;  // 0: all
  std::vector<std::string> stop = {};
  std::optional<std::int64_t> seed = std::nullopt;
};

// The request for `n` continuations of `prompt`; id and where are left to the caller. Unless options.strict_openai, top_k, min_p and
// repetition_penalty are given too: vLLM takes defaults for them from the model's generation_config.json, llama.cpp has its own (top_k 40,
// min_p 0.05), and either would silently cut the distribution that was asked for.
Request completion_request(const ServerOptions& options, const Content& prompt, const CompletionSettings& settings, std::int64_t n);

struct CompletionChoice {
  std::optional<std::string> text;  // nullopt: none came, as where a model was cut while it still reasoned
  bool ended = false;               // by itself, a stop text or for a reason that is not given, not by max_new_tokens
  std::string broken_by = {};       // a finish_reason that is neither, such as abort, error, content_filter: the text is not whole
};
struct Completion {
  std::vector<CompletionChoice> choices;              // at least one, by their `index` where they have one
  std::int64_t prompt_tokens = 0, answer_tokens = 0;  // of `usage`; 0 where the server does not say
};

// The answer to either call. Input error `where: choices: expected a list, got null` and the like, where a field has a wrong type or is
// missing. A finish_reason may be absent or null: nothing says then that the text was cut. A message whose content is null has no text, nor
// has one that reached the limit with nothing but `reasoning_content`.
Completion parse_completion(const Json& answer, const std::string& where);

// The choice's text, which may have been cut at max_new_tokens. Input error where there is none or where it is broken: to ask again for.
const std::string& require_text(const CompletionChoice& choice, const std::string& where);

}  // namespace metarm
