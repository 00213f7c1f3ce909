#pragma once

#include <cstdint>

namespace metarm {

// The smallest multiple of `multiple` that is not below `count`.
constexpr std::int64_t round_up(std::int64_t count, std::int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

}  // namespace metarm
