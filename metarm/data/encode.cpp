#include "metarm/data/encode.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

// An empty prompt is none, an empty response one that ends at once.
Conversation prompt_messages(const Content& prompt) {
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) return *conversation;
  const std::string& text = std::get<std::string>(prompt);
  return text.empty() ? Conversation{} : Conversation{{"user", text}};
}

Conversation response_messages(const Content& response) {
  if (const auto* conversation = std::get_if<Conversation>(&response)) return *conversation;
  return {{"assistant", std::get<std::string>(response)}};
}

bool is_whole_conversation(const Content& response) {
  const auto* conversation = std::get_if<Conversation>(&response);
  return conversation != nullptr && conversation->front().role != "assistant";
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
  note(notes, no_response, "responses have no token that a prompt's could predict: they were left out, a pair with them");
  note(notes, no_end, "texts got no end token: the tokenizer names none (eos_token in tokenizer_config.json)");
  note(notes, equal, "pairs left out: chosen and rejected are the same tokens");
  note(notes, doubled_start, "texts had a start token of their own; the tokenizer's second one was dropped");
  return notes;
}

// A prompt and its response in one form: both texts, or both messages.
struct Encoder::Joined {
  Content prompt;    // may be empty
  Content response;  // what follows
  const Conversation* messages() const { return std::get_if<Conversation>(&prompt); }
  Conversation conversation() const {
    Conversation all = std::get<Conversation>(prompt);
    const auto& rest = std::get<Conversation>(response);
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  }
};

Encoder::Joined Encoder::join(const std::optional<Content>& prompt, const Content& response) {
  if (!prompt || is_whole_conversation(response)) {
    const Content before = implicit_prompt(response);
    if (const auto* conversation = std::get_if<Conversation>(&response)) return {before, Conversation{conversation->back()}};
    return {before, std::get<std::string>(response).substr(std::get<std::string>(before).size())};
  }
  if (std::holds_alternative<std::string>(*prompt) && std::holds_alternative<std::string>(response)) return {*prompt, response};
  return {prompt_messages(*prompt), response_messages(response)};
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

// The tokens of prompt and response, whatever their number.
TokenIds Encoder::whole(const Joined& joined, const std::string& where) {
  TokenIds tokens;
  if (joined.messages() != nullptr) {
    tokens = tokenizer_.encode(render(joined.conversation(), false, where), false);
  } else {
    std::string text = std::get<std::string>(joined.prompt) + std::get<std::string>(joined.response);
    if (const auto eos = tokenizer_.special().eos) {
      const std::string_view end = tokenizer_.id_to_token(*eos);
      if (!text.ends_with(end)) text += end;
    } else {
      ++report_.no_end;
    }
    tokens = tokens_of_text(text, true);
  }
  if (tokens.empty()) fail_input("{}: expected some text, got none", where);
  return tokens;
}

TokenIds Encoder::as_it_stands(const std::string& text, TextForm form) const {
  TokenIds tokens = tokenizer_.encode(text, false);
  const std::optional<TokenId> bos = tokenizer_.added_bos();
  if (form == TextForm::written && bos && (tokens.empty() || tokens.front() != *bos)) tokens.insert(tokens.begin(), *bos);
  return tokens;
}

// The text of a conversation before its response. Most templates print the same for the prompt alone, and then what opens the next turn;
// Mistral's prints a system message with the last of all messages alone.
std::string Encoder::text_before_response(const Joined& joined, const std::string& where) const {
  const Conversation& prompt = *joined.messages();
  const std::string whole = render(joined.conversation(), false, where);
  const std::string& content = std::get<Conversation>(joined.response).front().content;
  const std::size_t end = content.find_last_not_of(" \t\r\n"), response = whole.rfind(content.substr(0, end + 1));
  const bool found = end != std::string::npos && response != std::string::npos;
  return !found || whole.starts_with(render(prompt, false, where)) ? render(prompt, true, where) : whole.substr(0, response);
}

// How many of the tokens are the prompt's.
std::size_t Encoder::prompt_length(const Joined& joined, const TokenIds& tokens, const std::string& where) {
  TokenIds before;
  if (const Conversation* messages = joined.messages(); messages == nullptr)
    before = tokens_of_text(std::get<std::string>(joined.prompt), false);
  else if (!messages->empty())
    before = tokenizer_.encode(text_before_response(joined, where), false);
  return common_prefix(before, tokens);
}

bool Encoder::too_long(const TokenIds& tokens) const { return max_length_ > 0 && static_cast<std::int64_t>(tokens.size()) > max_length_; }

// Drops the prompt's oldest tokens; false where the response alone is too long.
bool Encoder::shorten(TokenIds& tokens, std::size_t prompt_tokens) {
  const std::size_t excess = tokens.size() - static_cast<std::size_t>(max_length_), start = starts(tokens.front()) ? 1 : 0;
  if (prompt_tokens < excess + start) return false;
  drop_oldest(tokens, excess, static_cast<std::ptrdiff_t>(start));
  ++report_.truncated;
  return true;
}

std::optional<TokenIds> Encoder::sequence(const std::optional<Content>& prompt, const Content& response, const std::string& where,
                                          TextForm form) {
  const Joined joined = join(prompt, response);
  if (form != TextForm::response && joined.messages() == nullptr) {
    TokenIds tokens = as_it_stands(std::get<std::string>(joined.prompt) + std::get<std::string>(joined.response), form);
    if (tokens.empty()) fail_input("{}: expected some text, got none", where);
    return too_long(tokens) ? std::nullopt : std::optional(std::move(tokens));
  }
  TokenIds tokens = whole(joined, where);
  if (too_long(tokens) && !shorten(tokens, prompt_length(joined, tokens, where))) return std::nullopt;
  return tokens;
}

std::optional<TokenIds> Encoder::sequence(const ResponseGroup& group, std::size_t place) {
  return sequence(group.prompt, group.responses[place], group.where, group.form);
}

std::optional<EncodedResponse> Encoder::response(const std::optional<Content>& prompt, const Content& response, const std::string& where) {
  const Joined joined = join(prompt, response);
  EncodedResponse made{whole(joined, where)};
  const std::size_t before = made.tokens.size(), prompt_tokens = prompt_length(joined, made.tokens, where);
  if (too_long(made.tokens) && !shorten(made.tokens, prompt_tokens)) return std::nullopt;
  const std::size_t dropped = before - made.tokens.size();
  made.begin = std::max<std::int64_t>(static_cast<std::int64_t>(prompt_tokens - dropped), 1);
  if (made.length() >= 1) return made;
  ++report_.no_response;
  return std::nullopt;
}

TokenIds Encoder::prompt(const Content& prompt, std::int64_t max_prompt_length, const std::string& where) {
  TokenIds tokens;
  if (const auto* conversation = std::get_if<Conversation>(&prompt)) {
    tokens = tokenizer_.encode(render(*conversation, true, where), false);
  } else {
    tokens = as_it_stands(std::get<std::string>(prompt), TextForm::written);
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
      pairs.push_back({std::move(*chosen), std::move(*rejected), row.margin, row.weight, 1, static_cast<std::int64_t>(i)});
  }
  return pairs;
}

std::vector<EncodedResponse> Encoder::responses(const std::optional<Content>& prompt, std::span<const Content> contents,
                                                const std::string& where) {
  ++report_.rows;
  const std::int64_t empty = report_.no_response;
  std::vector<EncodedResponse> made;
  for (std::size_t place = 0; place < contents.size(); ++place) {
    std::optional<EncodedResponse> encoded = response(prompt, contents[place], where);
    if (!encoded) continue;
    encoded->place = place;
    made.push_back(std::move(*encoded));
  }
  const auto left_out = static_cast<std::int64_t>(contents.size() - made.size());
  if (left_out > report_.no_response - empty) ++report_.too_long;
  return made;
}

std::vector<EncodedResponsePair> Encoder::response_pairs(const std::vector<Pair>& rows) {
  std::vector<EncodedResponsePair> pairs;
  for (const Pair& row : rows) {
    ++report_.rows;
    const std::int64_t empty = report_.no_response;
    std::optional<EncodedResponse> chosen = response(row.prompt, row.chosen, row.where);
    std::optional<EncodedResponse> rejected = response(row.prompt, row.rejected, row.where);
    if (report_.no_response > empty) continue;
    if (!chosen || !rejected)
      ++report_.too_long;
    else if (chosen->tokens == rejected->tokens)
      ++report_.equal;
    else
      pairs.push_back({std::move(*chosen), std::move(*rejected), row.margin, row.weight});
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
      if (std::optional<TokenIds> tokens = sequence(rows[i], place)) {
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
