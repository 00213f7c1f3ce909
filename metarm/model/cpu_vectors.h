// Registers of floats, and products of small matrices, for the instruction set of the file that includes this (cpu_kernels_loops.h). All is
// local to that file.
#pragma once

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

#include <cstdint>
#include <utility>

#include "metarm/model/cpu_kernels.h"

namespace metarm {
namespace {

constexpr std::int64_t kWide = METARM_VECTOR_FLOATS;
constexpr std::int64_t kColumns = 2 * kWide;  // of a tile of a product
constexpr int kTileRows = METARM_TILE_ROWS;

using Vec = float __attribute__((vector_size(kWide * 4)));
using LooseVec = float __attribute__((vector_size(kWide * 4), aligned(4), may_alias));
using Ints = std::int32_t __attribute__((vector_size(kWide * 4)));
using Bits = std::uint32_t __attribute__((vector_size(kWide * 4)));
using Shorts = std::uint16_t __attribute__((vector_size(kWide * 2)));
using LooseShorts = std::uint16_t __attribute__((vector_size(kWide * 2), aligned(2), may_alias));

inline Vec load(const float* from) { return *reinterpret_cast<const LooseVec*>(from); }
inline void store(float* to, Vec value) { *reinterpret_cast<LooseVec*>(to) = value; }
inline Vec load(const Bfloat16Bits* from) {
  const Shorts halves = *reinterpret_cast<const LooseShorts*>(from);
  return reinterpret_cast<Vec>(__builtin_convertvector(halves, Bits) << 16);
}
inline Shorts rounded(Vec value) {  // to nearest, ties to even; NaN stays NaN
#ifdef __AVX512BF16__
  return reinterpret_cast<Shorts>(_mm512_cvtneps_pbh(value));
#else
  const Bits bits = reinterpret_cast<Bits>(value);
  const Bits nearest = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  return __builtin_convertvector(value != value ? Bits{} + 0x7fc0U : nearest, Shorts);
#endif
}
inline void store(Bfloat16Bits* to, Vec value) { *reinterpret_cast<LooseShorts*>(to) = rounded(value); }
using SignedShorts = std::int16_t __attribute__((vector_size(kWide * 2)));
using Bytes = std::int8_t __attribute__((vector_size(kWide)));
using LooseBytes = std::int8_t __attribute__((vector_size(kWide), aligned(1), may_alias));
inline Vec load(const std::int8_t* from) {
  const Bytes bytes = *reinterpret_cast<const LooseBytes*>(from);
  return __builtin_convertvector(__builtin_convertvector(__builtin_convertvector(bytes, SignedShorts), Ints),
                                 Vec);  // in steps of an instruction
}
inline float load_one(const float* from) { return *from; }
inline float load_one(const Bfloat16Bits* from) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(from->bits) << 16); }
inline void store_one(float* to, float value) { *to = value; }
inline void store_one(Bfloat16Bits* to, float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  to->bits = static_cast<std::uint16_t>(value != value ? 0x7fc0U : (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline Vec splat(float value) { return value - Vec{}; }  // folds to a broadcast, as a sum with 0 does not
// The lanes of a register with each other, half of them with the other half until one is left.
template <int kHalf, int... kLanes, class Join>
inline float fold(Vec value, const Join& join, std::integer_sequence<int, kLanes...> lanes) {
  value = join(value, __builtin_shufflevector(value, value, (kLanes ^ kHalf)...));
  if constexpr (kHalf > 1)
    return fold<kHalf / 2>(value, join, lanes);
  else
    return value[0];
}
template <class Join>
inline float fold(Vec value, const Join& join) {
  return fold<kWide / 2>(value, join, std::make_integer_sequence<int, kWide>());
}
inline float sum_of(Vec value) {
  return fold(value, [](Vec a, Vec b) { return a + b; });
}
inline float max_of(Vec value) {
  return fold(value, [](Vec a, Vec b) { return a > b ? a : b; });
}

// Calls body(i, vector or single element) over [0, count): `vectors` for whole registers, `singles` for the rest.
template <class Vectors, class Singles>
inline void sweep(std::int64_t count, const Vectors& vectors, const Singles& singles) {
  std::int64_t i = 0;
  for (; i + kWide <= count; i += kWide) vectors(i);
  for (; i < count; ++i) singles(i);
}

// e^x to 2 units in the last place, by 2^n times a polynomial (Cephes); below -87.3 it is e^-87.3.
template <class V, class I>
inline V exponential(V x) {
  const V zero{};
  x = x < -87.3F ? zero - 87.3F : x;
  x = x > 88.3F ? zero + 88.3F : x;
  const V turns = (x * 1.44269504F + 12582912.0F) - 12582912.0F;  // to the nearest whole number
  const V rest = (x - turns * 0.693359375F) + turns * 2.12194440e-4F;
  V p = rest * 1.9875691500e-4F + 1.3981999507e-3F;
  p = p * rest + 8.3334519073e-3F;
  p = p * rest + 4.1665795894e-2F;
  p = p * rest + 1.6666665459e-1F;
  p = p * rest + 5.0000001201e-1F;
  p = p * rest * rest + rest + 1.0F;
  const I exponent = (__builtin_convertvector(turns, I) + 127) << 23;
  return p * reinterpret_cast<V>(exponent);
}
inline Vec exp_of(Vec x) { return exponential<Vec, Ints>(x); }
inline Vec sigmoid_of(Vec x) { return 1.0F / (1.0F + exp_of(-x)); }
inline Vec tanh_of(Vec x) { return 2.0F * sigmoid_of(2.0F * x) - 1.0F; }

// C [rows, columns] (+)= A B for A [rows, depth] with any strides and B [depth, columns]; `columns` is a multiple of kColumns.
template <class Right>
struct ProductOf {
  std::int64_t rows, columns, depth;
  const float* a;
  std::int64_t a_row, a_column;
  const Right* b;
  std::int64_t b_row;
  float* c;
  std::int64_t c_row;
  bool add;
};
using Product = ProductOf<float>;

template <int kRows, class Right>
inline void product_tile(const ProductOf<Right>& p, const float* a, const Right* b, float* c) {
  Vec sums[kRows][2] = {};
  for (std::int64_t k = 0; k < p.depth; ++k, a += p.a_column, b += p.b_row) {
    const Vec left = load(b), right = load(b + kWide);
#pragma GCC unroll 16
    for (int m = 0; m < kRows; ++m) {
      const Vec of_row = splat(a[m * p.a_row]);
      sums[m][0] += of_row * left;
      sums[m][1] += of_row * right;
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < kRows; ++m, c += p.c_row) {
    store(c, p.add ? load(c) + sums[m][0] : sums[m][0]);
    store(c + kWide, p.add ? load(c + kWide) + sums[m][1] : sums[m][1]);
  }
}

template <int kRows, class Right>
inline void product_rows(const ProductOf<Right>& p, std::int64_t rows, const float* a, const Right* b, float* c) {
  if constexpr (kRows > 0) {
    if (rows == kRows)
      product_tile<kRows>(p, a, b, c);
    else
      product_rows<kRows - 1>(p, rows, a, b, c);
  }
}

template <class Right>
void multiply_of(const ProductOf<Right>& p) {
  const std::int64_t tiles = (p.rows + kTileRows - 1) / kTileRows;  // of as equal heights as can be
  for (std::int64_t column = 0; column < p.columns; column += kColumns) {
    for (std::int64_t tile = 0, row = 0; tile < tiles; ++tile) {
      const std::int64_t rows = p.rows / tiles + (tile < p.rows % tiles ? 1 : 0);
      product_rows<kTileRows>(p, rows, p.a + row * p.a_row, p.b + column, p.c + row * p.c_row + column);
      row += rows;
    }
  }
}
void multiply(const Product& p) { multiply_of(p); }

}  // namespace
}  // namespace metarm
