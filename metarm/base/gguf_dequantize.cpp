#include "metarm/base/gguf_dequantize.h"

#include <cstring>

#include "metarm/base/error.h"
#include "metarm/base/half.h"

// Products and sums are rounded one by one, as in the reference: this file is compiled without contraction into fused operations.

namespace metarm {

namespace {

using Bytes = const std::uint8_t*;

std::uint16_t read_u16(Bytes bytes) { return static_cast<std::uint16_t>(bytes[0] | bytes[1] << 8); }
float read_half(Bytes bytes) { return half_to_float(read_u16(bytes)); }

std::uint32_t read_u32(Bytes bytes) {
  std::uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

void read_f32(Bytes block, float* out) { std::memcpy(out, block, sizeof *out); }
void read_f16(Bytes block, float* out) { *out = read_half(block); }
void read_bf16(Bytes block, float* out) { *out = bfloat16_to_float(read_u16(block)); }

void read_q8_0(Bytes block, float* out) {
  const float scale = read_half(block);
  for (int i = 0; i < 32; ++i) out[i] = static_cast<float>(static_cast<std::int8_t>(block[2 + i])) * scale;
}

// The low nibbles of 16 bytes are values 0 to 15, the high ones 16 to 31.
int nibble(Bytes quants, int i) { return i < 16 ? quants[i] & 15 : quants[i - 16] >> 4; }
// A fifth bit for each of 32 values.
int fifth_bit(std::uint32_t bits, int i) { return static_cast<int>(bits >> i & 1U) << 4; }

void read_q4_0(Bytes block, float* out) {
  const float scale = read_half(block);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(nibble(block + 2, i) - 8);
}

void read_q4_1(Bytes block, float* out) {
  const float scale = read_half(block), minimum = read_half(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(nibble(block + 4, i)) + minimum;
}

void read_q5_0(Bytes block, float* out) {
  const float scale = read_half(block);
  const std::uint32_t high = read_u32(block + 2);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>((nibble(block + 6, i) | fifth_bit(high, i)) - 16);
}

void read_q5_1(Bytes block, float* out) {
  const float scale = read_half(block), minimum = read_half(block + 2);
  const std::uint32_t high = read_u32(block + 4);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(nibble(block + 8, i) | fifth_bit(high, i)) + minimum;
}

// Eight 6-bit scales and eight 6-bit minima in 12 bytes: the first four whole in the low bits of bytes 0 to 3 and 4 to 7; the others' low
// nibbles in bytes 8 to 11, their upper two bits atop the first.
struct GroupScale {
  int scale, minimum;
};
GroupScale group_scale(Bytes packed, int group) {
  if (group < 4) return {packed[group] & 63, packed[group + 4] & 63};
  const int low = packed[group + 4];
  return {(low & 15) | (packed[group - 4] >> 6) << 4, low >> 4 | (packed[group] >> 6) << 4};
}

// Q4_K and Q5_K: 8 groups of 32 values; two groups share 32 bytes of nibbles. `high` holds a fifth bit of group g in bit g, or is null.
void read_k45(Bytes block, Bytes high, Bytes quants, float* out) {
  const float scale = read_half(block), minimum = read_half(block + 2);
  for (int group = 0; group < 8; ++group) {
    const GroupScale packed = group_scale(block + 4, group);
    const float group_d = scale * static_cast<float>(packed.scale), group_m = minimum * static_cast<float>(packed.minimum);
    const int shift = group % 2 * 4;
    for (int i = 0; i < 32; ++i) {
      const int fifth = high == nullptr ? 0 : (high[i] >> group & 1) << 4;
      out[group * 32 + i] = group_d * static_cast<float>((quants[group / 2 * 32 + i] >> shift & 15) | fifth) - group_m;
    }
  }
}

void read_q4_k(Bytes block, float* out) { read_k45(block, nullptr, block + 16, out); }
void read_q5_k(Bytes block, float* out) { read_k45(block, block + 16, block + 48, out); }

// 8 rows of 32 values. Of each half, rows 0 and 1 are the low nibbles of 64 bytes, rows 2 and 3 the high ones; two upper bits of row r lie
// at bit 2 r of 32 bytes.
void read_q6_k(Bytes block, float* out) {
  const Bytes low = block, high = block + 128, scales = block + 192;
  const float scale = read_half(block + 208);
  for (int row = 0; row < 8; ++row) {
    const int half = row / 4, in_half = row % 4;
    for (int i = 0; i < 32; ++i) {
      const int four = low[half * 64 + in_half % 2 * 32 + i] >> (in_half / 2 * 4) & 15, two = high[half * 32 + i] >> (2 * in_half) & 3;
      const float group_d = scale * static_cast<float>(static_cast<std::int8_t>(scales[row * 2 + i / 16]));
      out[row * 32 + i] = group_d * static_cast<float>((four | two << 4) - 32);
    }
  }
}

template <void (*Read)(Bytes, float*)>
void read_blocks(const GgufTypeInfo& info, std::span<const std::byte> bytes, std::span<float> values) {
  const auto* block = reinterpret_cast<Bytes>(bytes.data());
  for (std::size_t i = 0; i < values.size(); i += info.values, block += info.bytes) Read(block, values.data() + i);
}

}  // namespace

void dequantize(GgufType type, std::span<const std::byte> bytes, std::span<float> values) {
  const GgufTypeInfo& info = info_of(type);
  if (bytes.size() % info.bytes != 0 || bytes.size() / info.bytes * info.values != values.size())
    fail_internal("{} blocks: expected {} bytes for {} values, got {}", info.name, values.size() / info.values * info.bytes, values.size(),
                  bytes.size());
  switch (type) {
    case GgufType::f32: return read_blocks<read_f32>(info, bytes, values);
    case GgufType::f16: return read_blocks<read_f16>(info, bytes, values);
    case GgufType::bf16: return read_blocks<read_bf16>(info, bytes, values);
    case GgufType::q8_0: return read_blocks<read_q8_0>(info, bytes, values);
    case GgufType::q4_0: return read_blocks<read_q4_0>(info, bytes, values);
    case GgufType::q4_1: return read_blocks<read_q4_1>(info, bytes, values);
    case GgufType::q5_0: return read_blocks<read_q5_0>(info, bytes, values);
    case GgufType::q5_1: return read_blocks<read_q5_1>(info, bytes, values);
    case GgufType::q4_k: return read_blocks<read_q4_k>(info, bytes, values);
    case GgufType::q5_k: return read_blocks<read_q5_k>(info, bytes, values);
    case GgufType::q6_k: return read_blocks<read_q6_k>(info, bytes, values);
  }
}

}  // namespace metarm
