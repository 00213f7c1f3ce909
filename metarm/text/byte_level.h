// GPT-2's reversible map from bytes to printable characters.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace metarm {

std::string to_byte_level(std::string_view bytes);
// The bytes that a token's characters stand for; nullopt when one stands for none.
std::optional<std::string> from_byte_level(std::string_view token);

}  // namespace metarm
