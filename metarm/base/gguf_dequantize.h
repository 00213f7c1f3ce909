// GGUF's tensor types to float32, equal to the Python `gguf` library bit for bit.
//
//   F32, F16, BF16   exact
//   Q8_0             d q                      blocks of 32 values: a half-precision scale d, integers q
//   Q4_0, Q5_0       d (q - 8), d (q - 16)
//   Q4_1, Q5_1       d q + m                  with a half-precision minimum m
//   Q4_K, Q5_K       (d s) q - (e t)          blocks of 256 values: half-precision d and e, 6-bit s and t for each 32 values
//   Q6_K             (d s) (q - 32)           8-bit s for each 16 values
#pragma once

#include <span>

#include "metarm/base/gguf.h"

namespace metarm {

// `bytes` are whole blocks of `type`; `values` has room for exactly what they hold.
void dequantize(GgufType type, std::span<const std::byte> bytes, std::span<float> values);

}  // namespace metarm
