// What tells one set of training rows from another: how many, and a hash of their tokens, margins and weights. Kept with a run, so that
// --resume notices that a file, or the tokenizer, has changed.
#pragma once

#include <span>
#include <string>

#include "metarm/base/json_lines.h"
#include "metarm/data/encode.h"

namespace metarm {

// {"rows": N, "hash": "16 hexadecimal digits"}; depends on the order.
Json fingerprint(std::span<const EncodedPair> pairs);
Json fingerprint(std::span<const EncodedGroup> groups);
Json fingerprint(std::span<const EncodedResponse> responses);
Json fingerprint(std::span<const EncodedResponsePair> pairs);
Json fingerprint(std::span<const TokenIds> prompts);
// Of groups: names, and weights, or none.
Json fingerprint(std::span<const std::string> modes, std::span<const double> weights);

}  // namespace metarm
