// What several protocols' bodies have in common.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/http/scoring.h"

namespace metarm {

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

bool flag(const Json& body, const char* field, bool otherwise);  // `otherwise` where it is absent or null

// A text, a list of texts, a list of token ids or a list of such lists, as items.
std::vector<ScoreItem> text_items(const Json& input, TextForm form, const std::string& field);
// A prompt with one response to it, or several.
ScoreItem pair_item(const Json& prompt, const Json& response, std::string where);

std::string make_id(const char* prefix, const Json& body);  // `prefix-` and the body's request_id, or one of its own

// The indices of `scores`, the highest first; equal ones in their order.
std::vector<std::size_t> best_first(const std::vector<double>& scores);

}  // namespace metarm
