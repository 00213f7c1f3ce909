// Whether two checkpoints make the same tokens of the same texts.
#pragma once

#include <string>

namespace metarm {

// Input error that names `directory` and what differs from `reference`: a part of tokenizer.json, a start or end token, or the chat
// template (those of one known format are the same). Both are folders of checkpoints or adapters.
void check_same_texts(const std::string& directory, const std::string& reference);

}  // namespace metarm
