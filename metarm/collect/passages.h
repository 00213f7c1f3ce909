// Sentences of a text, found by plain rules: enough to damage a text by, not to understand it.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "metarm/data/words.h"

namespace metarm {

// Sentences and lines without surrounding white space, which point into `text`: they end at `.`, `!` or `?` (and closing quotes or brackets
// after it) before white space, at `。`, `！` or `？`, and at a line's end. A number with a point, as before an item of a list, does not
// end one.
std::vector<std::string_view> list_sentences(std::string_view text);

// Bytes of `text` before `part`, which points into it.
inline std::size_t offset_in(std::string_view text, std::string_view part) { return static_cast<std::size_t>(part.data() - text.data()); }

// round(share · count), within [low, high].
std::size_t share_of(double share, std::size_t count, std::size_t low, std::size_t high);

}  // namespace metarm
