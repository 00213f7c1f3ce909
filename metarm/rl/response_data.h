// The responses that a policy is trained to write.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/data/encode.h"
#include "metarm/model/common_options.h"

namespace metarm {

// Of the rows of any kind: a pair's chosen response, every response of a group, a conversation's last message, the `response` to a
// `prompt`, what follows the implicit prompt of a `text`. One that was cut, by its group's `ended`, has no end token to learn. Input errors
// for bad rows, and, naming `option`, where no response is left.
std::vector<EncodedResponse> load_responses(const std::vector<std::string>& files, const char* option, Encoder& encoder,
                                            std::span<const TokenId> end_tokens, const SequenceOptions& sequences, Log& log);

}  // namespace metarm
