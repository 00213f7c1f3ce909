// Where a policy's responses end, and the text of one.
#pragma once

#include <string>
#include <vector>

#include "metarm/model/checkpoint.h"

namespace metarm {

// The tokenizer's end token, and those that config.json and generation_config.json name.
std::vector<TokenId> list_end_tokens(const Tokenizer& tokenizer, const CheckpointConfig& config);

// What the decoded whole has beyond the decoded prompt, since some decoders drop a text's leading space; without special tokens.
std::string response_text(const Tokenizer& tokenizer, const TokenIds& prompt, const TokenIds& response);

}  // namespace metarm
