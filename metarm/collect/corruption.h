// Responses made worse on purpose. `strength` s in (0, 1] is the share of the text that is hit; each function says of what, and gives
// nothing where the text is too short to be changed so.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "metarm/base/random.h"

namespace metarm {

// Without its last round(s · n) of n words, one at least and n − 1 at most. Nothing for a text of one word.
std::optional<std::string> truncate_response(std::string_view text, double strength);

// With a run of round(s · n) of its n sentences, one at least, said a second time right after the first.
std::optional<std::string> repeat_sentences(std::string_view text, double strength, RandomStream stream);

// With round(s · n) of its n sentences, two at least, each in the place of another of them; the others stay. Nothing for one sentence, or
// where that changes nothing.
std::optional<std::string> shuffle_sentences(std::string_view text, double strength, RandomStream stream);

}  // namespace metarm
