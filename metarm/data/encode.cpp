#include "metarm/data/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// A prompt and its response in one form: both texts, or both messages.
struct Joined {
  Content prompt;    // may be empty
  Content response;  // what follows
};

Conversation as_conversation(const Content& content, const char* role) {
  if (const auto* conversation = std::get_if<Conversation>(&content)) return *conversation;
  const std::string& text = std::get<std::string>(content);
  return text.empty() ? Conversation{} : Conversation{{role, text}};
}

bool is_whole_conversation(const Content& response) {
  const auto* conversation = std::get_if<Conversation>(&response);
  return conversation != nullptr && conversation->front().role != "assistant";
}

Joined join(const std::optional<Content>& prompt, const Content& response) {
  if (!prompt || is_whole_conversation(response)) {
    const Content before = implicit_prompt(response);
    if (const auto* conversation = std::get_if<Conversation>(&response)) return {before, Conversation{conversation->back()}};
    return {before, std::get<std::string>(response).substr(std::get<std::string>(before).size())};
  }
  if (std::holds_alternative<std::string>(*prompt) && std::holds_alternative<std::string>(response)) return {*prompt, response};
  return {as_conversation(*prompt, "user"), as_conversation(response, "assistant")};
}

std::size_t common_prefix(const TokenIds& a, const TokenIds& b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

// Drops the oldest `count` tokens after the first `kept`.
void drop_oldest(TokenIds& tokens, std::size_t count, std::ptrdiff_t kept) {
  tokens.erase(tokens.begin() + kept, tokens.begin() + kept + static_cast<std::ptrdiff_t>(count));
}

void note(std::vector<std::string>& notes, std::int64_t count, const std::string& what) {
  if (count > 0) notes.push_back(fmt::format("{} {}", count, what));
}

}  // namespace

std::vector<std::string> EncodeReport::notes(const char* length_option) const {
  std::vector<std::string> notes;
  note(notes, truncated, fmt::format("sequences longer than {} lost their prompt's oldest tokens", length_option));
  note(notes, too_long, fmt::format("rows hold a response that alone is longer than {}: it was left out, a pair with it", length_option));
  note(notes, small_groups, fmt::format("groups left out: fewer than two of their responses fit into {}", length_option));
  note(notes, no_end, "texts got no end token: the tokenizer names none (eos_token in tokenizer_config.json)");
  note(notes, equal, "pairs left out: chosen and rejected are the same tokens");
  note(notes, doubled_start, "texts had a start token of their own; the tokenizer's second one was dropped");
  return notes;
}

Encoder::Encoder(const Tokenizer& tokenizer, const ChatTemplate* chat, std::int64_t max_length)
    : tokenizer_(tokenizer), chat_(chat), max_length_(max_length) {}

std::string Encoder::render(const Conversation& conversation, bool add_generation_prompt, const std::string& where) const {
  if (chat_ == nullptr)
    fail_input("{}: expected a text, since the checkpoint has no chat template, got messages; --chat-template names one", where);
  return with_context(where, [&] { return chat_->render(conversation, add_generation_prompt); });
}

bool Encoder::starts(TokenId token) const { return token == tokenizer_.special().bos || token == tokenizer_.added_bos(); }

TokenIds Encoder::tokens_of_text(const std::string& text, bool count) {
  TokenIds tokens = tokenizer_.encode(text, true);
  const std::optional<TokenId> bos = tokenizer_.added_bos();
  if (bos && tokens.size() > 1 && tokens[0] == *bos && tokens[1] == *bos) {
    tokens.erase(tokens.begin());
    if (count) ++report_.doubled_start;
  }
  return tokens;
}

std::optional<TokenIds> Encoder::sequence(const std::optional<Content>& prompt, const Content& response, const std::string& where) {
  const Joined joined = join(prompt, response);
  const auto* messages = std::get_if<Conversation>(&joined.prompt);
  TokenIds tokens;
  std::string prompt_text;
  if (messages != nullptr) {
    Conversation whole = *messages;
    const auto& rest = std::get<Conversation>(joined.response);
    whole.insert(whole.end(), rest.begin(), rest.end());
    if (whole.empty()) fail_input("{}: expected some text, got none", where);
    tokens = tokenizer_.encode(render(whole, false, where), false);
  } else {
    prompt_text = std::get<std::string>(joined.prompt);
    std::string text = prompt_text + std::get<std::string>(joined.response);
    if (const auto eos = tokenizer_.special().eos) {
      const std::string_view end = tokenizer_.id_to_token(*eos);
      if (!text.ends_with(end)) text += end;
    } else {
      ++report_.no_end;
    }
    tokens = tokens_of_text(text, true);
  }
  if (tokens.empty()) fail_input("{}: expected some text, got none", where);

  const std::int64_t length = static_cast<std::int64_t>(tokens.size());
  if (max_length_ == 0 || length <= max_length_) return tokens;
  TokenIds before;
  if (messages == nullptr)
    before = tokens_of_text(prompt_text, false);
  else if (!messages->empty())
    before = tokenizer_.encode(render(*messages, true, where), false);
  const std::size_t excess = static_cast<std::size_t>(length - max_length_);
  const std::size_t start = starts(tokens.front()) ? 1 : 0;
  if (common_prefix(before, tokens) < excess + start) return std::nullopt;
  drop_oldest(tokens, excess, static_cast<std::ptrdiff_t>(start));
  ++report_.truncated;
  return tokens;
}

TokenIds Encoder::prompt(const Content& prompt, std::int64_t max_prompt_length, const std::string& where) {
  TokenIds tokens;
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) {
    tokens = tokenizer_.encode(render(*conversation, true, where), false);
  } else {
    tokens = tokenizer_.encode(std::get<std::string>(prompt), false);
    const std::optional<TokenId> bos = tokenizer_.added_bos();
    if (bos && (tokens.empty() || tokens.front() != *bos)) tokens.insert(tokens.begin(), *bos);
  }
  if (max_prompt_length > 0 && static_cast<std::int64_t>(tokens.size()) > max_prompt_length) {
    drop_oldest(tokens, tokens.size() - static_cast<std::size_t>(max_prompt_length),
                max_prompt_length > 1 && starts(tokens.front()) ? 1 : 0);
    ++report_.truncated;
  }
  return tokens;
}

std::vector<EncodedPair> Encoder::pairs(const std::vector<Pair>& rows) {
  std::vector<EncodedPair> pairs;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Pair& row = rows[i];
    ++report_.rows;
    std::optional<TokenIds> chosen = sequence(row.prompt, row.chosen, row.where);
    std::optional<TokenIds> rejected = sequence(row.prompt, row.rejected, row.where);
    if (!chosen || !rejected)
      ++report_.too_long;
    else if (*chosen == *rejected)
      ++report_.equal;
    else
      pairs.push_back({std::move(*chosen), std::move(*rejected), row.margin, row.weight, static_cast<std::int64_t>(i)});
  }
  return pairs;
}

std::vector<EncodedGroup> Encoder::groups(const std::vector<ResponseGroup>& rows) {
  std::vector<EncodedGroup> groups;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    ++report_.rows;
    EncodedGroup group{{}, static_cast<std::int64_t>(i)};
    bool too_long = false;
    for (std::size_t place = 0; place < rows[i].responses.size(); ++place) {
      if (std::optional<TokenIds> tokens = sequence(rows[i].prompt, rows[i].responses[place], rows[i].where)) {
        group.responses.push_back(std::move(*tokens));
        group.places.push_back(static_cast<std::int64_t>(place));
      } else {
        too_long = true;
      }
    }
    if (too_long) ++report_.too_long;
    if (group.responses.size() >= 2)
      groups.push_back(std::move(group));
    else
      ++report_.small_groups;
  }
  return groups;
}

}  // namespace metarm
