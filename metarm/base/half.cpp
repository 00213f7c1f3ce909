#include "metarm/base/half.h"

#include <bit>

namespace metarm {

namespace {

// Drops the low `count` bits (1 to 31), rounding to nearest, ties to even.
std::uint32_t drop_bits(std::uint32_t value, int count) {
  const std::uint32_t kept = value >> count, rest = value & ((1U << count) - 1), tie = 1U << (count - 1);
  return kept + (rest > tie || (rest == tie && (kept & 1U)) ? 1 : 0);
}

}  // namespace

float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000U) << 16, exponent = (bits >> 10) & 31U, fraction = bits & 0x3ffU;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000U | fraction << 13);
  if (exponent == 0) {
    const float subnormal = static_cast<float>(fraction) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(subnormal));
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

float bfloat16_to_float(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

std::uint16_t float_to_half(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value), sign = (bits >> 16) & 0x8000U, magnitude = bits & 0x7fffffffU;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000U) {
    half = 0x7e00U;
  } else if (magnitude >= 0x47800000U) {  // 2^16 and more
    half = 0x7c00U;
  } else if (magnitude >= 0x38800000U) {  // normal as a half; a carry out of the fraction raises the exponent, up to infinity
    half = drop_bits(magnitude - (112U << 23), 13);
  } else if (magnitude >= 0x33000000U) {  // subnormal: a multiple of 2^-24
    half = drop_bits((magnitude & 0x7fffffU) | 0x800000U, 126 - static_cast<int>(magnitude >> 23));
  }
  return static_cast<std::uint16_t>(sign | half);
}

std::uint16_t float_to_bfloat16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<std::uint16_t>(bits >> 16 | 0x40U);
  return static_cast<std::uint16_t>(drop_bits(bits, 16));
}

}  // namespace metarm
