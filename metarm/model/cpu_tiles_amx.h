// Products of bfloat16 by AMX, whose registers hold tiles of a matrix: 16 rows of 32 numbers times 16 columns, summed in float32. A tile
// wants the left factor in rows, the right one in *pairs*: a word holds two numbers of a column, one below the other.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "metarm/model/cpu_kernels.h"

namespace metarm {
namespace {

constexpr std::int64_t kTile = 16, kTileDepth = 32;

// Eight tiles of 16 rows of 64 bytes, for as long as it lives.
struct alignas(64) TileLayout {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr TileLayout kTileLayout;
class Tiles {
 public:
  Tiles() { _tile_loadconfig(&kTileLayout); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
  ~Tiles() { _tile_release(); }
};

// C [rows, columns] (+)= A B: rows a multiple of 16, columns and depth of 32. B is pairs, [depth / 2, columns].
struct TileProduct {
  std::int64_t rows, columns, depth;
  const Bfloat16Bits* a;
  std::int64_t a_row;
  const std::uint32_t* b;
  std::int64_t b_row;
  float* c;
  std::int64_t c_row;
  bool add;
  bool streamed = false;  // B is read from memory, all of its columns are in a row of kPairColumns words
};

constexpr std::int64_t kAhead = 2048;  // words of B that are asked for before they are wanted

// 32 columns, of two tiles' rows or of one's.
template <bool kTwo>
inline void multiply_tiles(const TileProduct& p, const Bfloat16Bits* a, const std::uint32_t* b, float* c, bool from_memory) {
  const auto a_bytes = static_cast<std::size_t>(p.a_row) * 2, b_bytes = static_cast<std::size_t>(p.b_row) * 4,
             c_bytes = static_cast<std::size_t>(p.c_row) * 4;
  float* const below = c + kTile * p.c_row;
  if (p.add) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(1, c + kTile, c_bytes);
    if constexpr (kTwo) {
      _tile_loadd(2, below, c_bytes);
      _tile_loadd(3, below + kTile, c_bytes);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    if constexpr (kTwo) {
      _tile_zero(2);
      _tile_zero(3);
    }
  }
  for (std::int64_t k = 0; k < p.depth; k += kTileDepth, a += kTileDepth, b += kTileDepth / 2 * p.b_row) {
    for (std::int64_t i = 0; from_memory && i < kTileDepth / 2 * kPairColumns; i += kTile) _mm_prefetch(b + kAhead + i, _MM_HINT_T0);
    _tile_loadd(4, a, a_bytes);
    _tile_loadd(6, b, b_bytes);
    _tile_loadd(7, b + kTile, b_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (kTwo) {
      _tile_loadd(5, a + kTile * p.a_row, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + kTile, c_bytes);
  if constexpr (kTwo) {
    _tile_stored(2, below, c_bytes);
    _tile_stored(3, below + kTile, c_bytes);
  }
}

void multiply(const TileProduct& p) {
  __asm__ volatile("" ::: "memory");  // what was stored is in memory: the compiler does not know that a tile's load reads it
  for (std::int64_t column = 0; column < p.columns; column += 2 * kTile) {
    std::int64_t row = 0;
    for (; row + 2 * kTile <= p.rows; row += 2 * kTile)
      multiply_tiles<true>(p, p.a + row * p.a_row, p.b + column, p.c + row * p.c_row + column, p.streamed && row == 0);
    if (row < p.rows) multiply_tiles<false>(p, p.a + row * p.a_row, p.b + column, p.c + row * p.c_row + column, p.streamed && row == 0);
  }
}

}  // namespace
}  // namespace metarm
