// Rows to token sequences, by the rules of the docs page on tokens (TRL's RewardTrainer's, so that scores can be compared):
//
//   text           prompt + response joined, tokenized once with the post-processor's special tokens; the end token's text is
//                  appended when the text does not already end with it
//   conversation   the checkpoint's chat template, tokenized without further special tokens
//   start token    never doubled: where the text already starts with the start token that the post-processor adds, one is dropped
//                  and counted
//   too long       the prompt loses its oldest tokens (a leading start token stays), the response is kept whole; a response that alone
//                  is longer than max_length gives no sequence
//
// A whole text without an explicit prompt has as prompt what comes before its last "\n\nAssistant:" reply, if there is one; a whole
// conversation, all but its last message. So the sequence of a text never depends on the texts it is compared with.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/text/chat_template.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

struct EncodeReport {
  std::int64_t rows = 0;
  std::int64_t truncated = 0;      // sequences whose prompt was shortened
  std::int64_t too_long = 0;       // rows with a response that alone is longer than max_length: it is left out, a pair with it
  std::int64_t equal = 0;          // pairs left out: both sequences the same after truncation
  std::int64_t small_groups = 0;   // groups left out: fewer than two of their responses fit
  std::int64_t no_response = 0;    // responses of which no token follows another: left out, a pair with them
  std::int64_t no_end = 0;         // texts that got no end token, since the tokenizer names none
  std::int64_t doubled_start = 0;  // sequences whose doubled start token was dropped

  std::vector<std::string> notes(const char* length_option = "--max-length") const;  // one line for each count that is not zero
};

struct EncodedPair {
  TokenIds chosen, rejected;
  double margin = 0, weight = 1;
  double label = 1;      // probability that chosen is the better one
  std::int64_t row = 0;  // index into the rows given
};

struct EncodedGroup {
  std::vector<TokenIds> responses;
  std::int64_t row = 0;
  std::vector<std::int64_t> places = {};  // of each response among the row's
};

// A sequence for a policy, which is trained on the response's tokens alone: those from `begin` on. The first of them is where the sequence
// first differs from the prompt's own tokens; it follows at least one other, so that it can be predicted.
struct EncodedResponse {
  TokenIds tokens;
  std::int64_t begin = 1;
  std::size_t place = 0;  // among the contents given
  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()) - begin; }
};

struct EncodedResponsePair {
  EncodedResponse chosen, rejected;
  double margin = 0, weight = 1;
};

class Encoder {
 public:
  // `chat` may be null: conversations are then an input error that names --chat-template. max_length 0: no limit.
  Encoder(const Tokenizer& tokenizer, const ChatTemplate* chat, std::int64_t max_length);

  // The token sequence of a text or conversation to score; nullopt when its response alone, or a text that stays as it stands, is too
  // long, which the caller counts: the report's too_long is of pairs() and groups().
  std::optional<TokenIds> sequence(const std::optional<Content>& prompt, const Content& response, const std::string& where,
                                   TextForm form = TextForm::response);
  std::optional<TokenIds> sequence(const ResponseGroup& group, std::size_t place);
  // The tokens from which a policy continues: no end token; a conversation with the template's generation prompt. Longer than
  // max_prompt_length (0: no limit) loses its oldest.
  TokenIds prompt(const Content& prompt, std::int64_t max_prompt_length, const std::string& where);

  std::vector<EncodedPair> pairs(const std::vector<Pair>& rows);
  // The responses of one row that fit.
  std::vector<EncodedResponse> responses(const std::optional<Content>& prompt, std::span<const Content> contents, const std::string& where);
  std::vector<EncodedResponsePair> response_pairs(const std::vector<Pair>& rows);
  std::vector<EncodedGroup> groups(
      const std::vector<ResponseGroup>& rows);  // a group of which fewer than two sequences are left is left out

  const EncodeReport& report() const { return report_; }

 private:
  struct Joined;
  static Joined join(const std::optional<Content>& prompt, const Content& response);
  TokenIds whole(const Joined& joined, const std::string& where);
  TokenIds as_it_stands(const std::string& text, TextForm form) const;
  std::string text_before_response(const Joined& joined, const std::string& where) const;
  std::size_t prompt_length(const Joined& joined, const TokenIds& tokens, const std::string& where);
  bool shorten(TokenIds& tokens, std::size_t prompt_tokens);
  bool too_long(const TokenIds& tokens) const;
  // nullopt also where no token of the response follows another, which is counted.
  std::optional<EncodedResponse> response(const std::optional<Content>& prompt, const Content& response, const std::string& where);
  std::string render(const Conversation& conversation, bool add_generation_prompt, const std::string& where) const;
  bool starts(TokenId token) const;                              // whether it is a start token
  TokenIds tokens_of_text(const std::string& text, bool count);  // `count`: a dropped start token goes into the report

  const Tokenizer& tokenizer_;
  const ChatTemplate* chat_;
  std::int64_t max_length_;
  EncodeReport report_;
};

}  // namespace metarm
