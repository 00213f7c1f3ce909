// The two 16-bit float formats as their bits, for files; arithmetic is done in float32.
#pragma once

#include <cstdint>

namespace metarm {

float half_to_float(std::uint16_t bits);      // IEEE binary16; exact
float bfloat16_to_float(std::uint16_t bits);  // exact
// Round to nearest, ties to even; too large becomes infinite, NaN stays NaN.
std::uint16_t float_to_half(float value);
std::uint16_t float_to_bfloat16(float value);

}  // namespace metarm
