// Where a policy's responses end, and the text of one.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metarm/model/checkpoint.h"

namespace metarm {

// The tokenizer's end token, and those that config.json and generation_config.json name.
std::vector<TokenId> list_end_tokens(const Tokenizer& tokenizer, const CheckpointConfig& config);

// Leaves out what is none of the policy's choice in a response of a text, whose tokens are those from `begin` on: what a template prints
// after the last end token, and that token itself where the response was cut (`ended` false), if anything else of it is left.
void drop_unchosen_end(TokenIds& tokens, std::int64_t begin, bool ended, std::span<const TokenId> end_tokens);

// What the decoded whole has beyond the decoded prompt, since some decoders drop a text's leading space; without special tokens.
std::string response_text(const Tokenizer& tokenizer, const TokenIds& prompt, const TokenIds& response);

}  // namespace metarm
