// Attention in bfloat16 by AMX. As cpu_attention_loops.h goes about it, but for what a tile wants (cpu_tiles_amx.h):
//
//   - a matrix of rows turned becomes pairs by words, so that keys, for logits, are turned word by word; shares and their gradients become
//     pairs when two rows of them meet.
//   - shares and the logits' gradients rounded to bfloat16, as attention on GPUs has them. Logits, sums and all else are float32.
//   - keys and values get their gradients turned, [E, tokens], whose left factor is the block's queries turned.
#pragma once

#include "metarm/model/cpu_attention_loops.h"
#include "metarm/model/cpu_tiles_amx.h"

namespace metarm {
namespace {

constexpr BlockSizes kTileSizes = {64, 2};

// Tokens of a row of pairs: room for the last block of keys, which may begin one early, and an odd number of lines of the cache, so that
// the rows of a tile do not meet in the same few places of it.
inline std::int64_t padded_tokens_of(const AttentionTask& task) { return round_up(task.tokens, kTileDepth) + kTileDepth + kTile; }

inline std::uint32_t pair_of(Bfloat16Bits above, Bfloat16Bits below) { return above.bits | static_cast<std::uint32_t>(below.bits) << 16; }

// Word w of a row of numbers.
inline std::uint32_t word_of(const Bfloat16Bits* row, std::int64_t w) {
  std::uint32_t word;
  std::memcpy(&word, row + 2 * w, sizeof word);
  return word;
}

// Keys or values turned, as pairs [padded / 2, padded_tokens], and by tokens, as pairs [tokens / 2, padded].
void turn_to_pairs(const AttentionTask& task, const Bfloat16Bits* qkv, std::int64_t offset, std::int64_t padded_tokens,
                   std::uint32_t* pairs) {
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    const Bfloat16Bits* const row = qkv + t * task.row_stride + offset;
    for (std::int64_t w = 0; w < task.width / 2; ++w) pairs[w * padded_tokens + t] = word_of(row, w);
    if (task.width % 2 == 1) pairs[task.width / 2 * padded_tokens + t] = row[task.width - 1].bits;
  }
}
void pair_tokens(const AttentionTask& task, const Bfloat16Bits* qkv, std::int64_t offset, std::int64_t padded, std::uint32_t* pairs) {
  for (std::int64_t t = 0; t < task.tokens; t += 2, pairs += padded) {
    const Bfloat16Bits* const above = qkv + t * task.row_stride + offset;
    const Bfloat16Bits* const below = above + task.row_stride;
    for (std::int64_t e = 0; e < task.width; ++e) pairs[e] = pair_of(above[e], t + 1 < task.tokens ? below[e] : Bfloat16Bits{0});
  }
}

// The block's rows of queries, or of what has their shape, [rows, padded]; those after the last one become 0 up to `rows`.
void copy_queries(const AttentionTask& task, const QueryBlock& queries, const Bfloat16Bits* from, std::int64_t stride, std::int64_t offset,
                  std::int64_t padded, std::int64_t rows, Bfloat16Bits* to) {
  Bfloat16Bits* row = to;
  for (std::int64_t t = queries.begin; t < queries.end; ++t)
    for (std::int64_t h = 0; h < task.shared; ++h, row += padded)
      std::memcpy(row, from + t * stride + offset + h * task.width, static_cast<std::size_t>(task.width) * 2);
  std::memset(row, 0, static_cast<std::size_t>(to + rows * padded - row) * 2);
}
// [rows, padded] to [padded, rows]: words are turned, then parted. `words` holds `rows` of them.
void turn(const Bfloat16Bits* from, std::int64_t rows, std::int64_t padded, std::uint32_t* words, Bfloat16Bits* to) {
  for (std::int64_t w = 0; 2 * w < padded; ++w) {
    for (std::int64_t row = 0; row < rows; ++row) words[row] = word_of(from + row * padded, w);
    Bfloat16Bits *const above = to + 2 * w * rows, *const below = above + rows;
    for (std::int64_t row = 0; row < rows; ++row) {
      above[row].bits = static_cast<std::uint16_t>(words[row]);
      below[row].bits = static_cast<std::uint16_t>(words[row] >> 16);
    }
  }
}

// Two rows of floats as pairs, and as rows of bfloat16 where `above` is given.
inline void pair_rows(const float* rows, std::int64_t stride, std::int64_t columns, std::uint32_t* pairs, Bfloat16Bits* above = nullptr) {
  for (std::int64_t i = 0; i < columns; i += kWide) {
    const Shorts first = rounded(load(rows + i)), second = rounded(load(rows + stride + i));
    const Bits pair = __builtin_convertvector(first, Bits) | (__builtin_convertvector(second, Bits) << 16);
    std::memcpy(pairs + i, &pair, sizeof pair);
    if (above == nullptr) continue;
    std::memcpy(above + i, &first, sizeof first);
    std::memcpy(above + stride + i, &second, sizeof second);
  }
}

// Parts of the scratch memory, one after another, each from a line of the cache on.
class Parts {
 public:
  explicit Parts(void* memory) : next_(static_cast<std::byte*>(memory)) {}
  template <class T>
  T* take(std::int64_t count) {
    std::byte* const part = next_;
    next_ += bytes<T>(count);
    return reinterpret_cast<T*>(part);
  }
  template <class T>
  static std::int64_t bytes(std::int64_t count) {
    return round_up(count * static_cast<std::int64_t>(sizeof(T)), 64);
  }

 private:
  std::byte* next_;
};

void attention_by_tiles(const AttentionTask& task, const Bfloat16Bits* qkv, Bfloat16Bits* out, float* log_sum) {
  static thread_local Scratch scratch;
  const Tiles tiles;
  const std::int64_t padded = round_up(task.width, kTileDepth), padded_tokens = padded_tokens_of(task);
  const std::int64_t rows = round_up(task.shared > kTileSizes.query_rows ? task.shared : kTileSizes.query_rows, kTile);
  Parts parts(scratch.zeros(2 * Parts::bytes<std::uint32_t>(padded / 2 * padded_tokens) + Parts::bytes<Bfloat16Bits>(rows * padded) +
                            Parts::bytes<float>(rows * padded) + Parts::bytes<float>(rows * kKeyBlock) +
                            Parts::bytes<Bfloat16Bits>(rows * kKeyBlock) + 2 * Parts::bytes<float>(rows)));
  auto* const key = parts.take<std::uint32_t>(padded / 2 * padded_tokens);
  auto* const value = parts.take<std::uint32_t>(padded / 2 * padded_tokens);
  auto* const query = parts.take<Bfloat16Bits>(rows * padded);
  auto* const mixed = parts.take<float>(rows * padded);
  auto* const logits = parts.take<float>(rows * kKeyBlock);
  auto* const shares = parts.take<Bfloat16Bits>(rows * kKeyBlock);
  auto* const most = parts.take<float>(rows);
  auto* const total = parts.take<float>(rows);
  turn_to_pairs(task, qkv, task.key_offset, padded_tokens, key);
  pair_tokens(task, qkv, task.value_offset, padded, value);

  for_each_query_block(task, kTileSizes, [&](const QueryBlock& queries) {
    const std::int64_t count = (queries.end - queries.begin) * task.shared, whole = round_up(count, kTile);
    copy_queries(task, queries, qkv, task.row_stride, task.query_offset, padded, whole, query);
    std::memset(mixed, 0, static_cast<std::size_t>(whole * padded) * 4);
    for (std::int64_t row = 0; row < count; ++row) most[row] = -INFINITY, total[row] = 0;
    for_each_key_block(task, kTileSizes, queries, [&](const KeyBlock& keys) {
      const std::int64_t columns = round_up(keys.count(), kTileDepth);
      multiply({whole, columns, padded, query, padded, key + keys.begin, padded_tokens, logits, kKeyBlock, false});
      for (std::int64_t row = 0; row < count; ++row) {
        const Seen seen = seen_keys(task, queries.segment, queries.begin + row / task.shared, keys);
        Bfloat16Bits* const row_shares = shares + row * kKeyBlock;
        if (seen.low < seen.high)
          add_block(task, seen, task.scale, columns, padded, logits + row * kKeyBlock, row_shares, mixed + row * padded, most[row],
                    total[row]);
        else
          std::memset(row_shares, 0, static_cast<std::size_t>(columns) * 2);
      }
      multiply({whole, padded, columns, shares, kKeyBlock, value + keys.begin / 2 * padded, padded, mixed, padded, true});
    });
    finish_queries(task, queries, padded, most, total, mixed, out, log_sum);
  });
}

void attention_backward_by_tiles(const AttentionTask& task, const Bfloat16Bits* qkv, const Bfloat16Bits* out, const Bfloat16Bits* grad_out,
                                 const float* log_sum, Bfloat16Bits* grad_qkv) {
  static thread_local Scratch scratch;
  const Tiles tiles;
  const std::int64_t padded = round_up(task.width, kTileDepth), padded_tokens = padded_tokens_of(task);
  const std::int64_t rows = round_up(task.shared > kTileSizes.query_rows ? task.shared : kTileSizes.query_rows, kTileDepth);
  const std::int64_t flat = padded * padded_tokens, of_queries = rows * padded, of_logits = rows * kKeyBlock;
  Parts parts(scratch.zeros(3 * Parts::bytes<std::uint32_t>(flat / 2) + 2 * Parts::bytes<float>(flat) +
                            5 * Parts::bytes<float>(of_queries) + 5 * Parts::bytes<float>(of_logits) + 2 * Parts::bytes<float>(rows)));
  auto* const key_turned = parts.take<std::uint32_t>(flat / 2);
  auto* const value_turned = parts.take<std::uint32_t>(flat / 2);
  auto* const key = parts.take<std::uint32_t>(flat / 2);
  auto* const grad_key = parts.take<float>(flat);  // turned, as grad_value
  auto* const grad_value = parts.take<float>(flat);
  auto* const query = parts.take<Bfloat16Bits>(of_queries);
  auto* const query_turned = parts.take<Bfloat16Bits>(of_queries);
  auto* const grad = parts.take<Bfloat16Bits>(of_queries);
  auto* const grad_turned = parts.take<Bfloat16Bits>(of_queries);
  auto* const grad_query = parts.take<float>(of_queries);
  auto* const logits = parts.take<float>(of_logits);
  auto* const grad_logits = parts.take<float>(of_logits);
  auto* const share_pairs = parts.take<std::uint32_t>(of_logits / 2);
  auto* const grad_pairs = parts.take<std::uint32_t>(of_logits / 2);
  auto* const grad_rows = parts.take<Bfloat16Bits>(of_logits);
  auto* const mean_grad = parts.take<float>(rows);
  auto* const words = parts.take<std::uint32_t>(rows);
  turn_to_pairs(task, qkv, task.key_offset, padded_tokens, key_turned);
  turn_to_pairs(task, qkv, task.value_offset, padded_tokens, value_turned);
  pair_tokens(task, qkv, task.key_offset, padded, key);

  for_each_query_block(task, kTileSizes, [&](const QueryBlock& queries) {
    const std::int64_t count = (queries.end - queries.begin) * task.shared, whole = round_up(count, kTileDepth);
    copy_queries(task, queries, out, task.out_stride, task.out_offset, padded, whole, query);
    copy_queries(task, queries, grad_out, task.out_stride, task.out_offset, padded, whole, grad);
    for (std::int64_t row = 0; row < count; ++row) mean_grad[row] = dot(grad + row * padded, query + row * padded, padded);
    copy_queries(task, queries, qkv, task.row_stride, task.query_offset, padded, whole, query);
    turn(query, whole, padded, words, query_turned);
    turn(grad, whole, padded, words, grad_turned);
    std::memset(grad_query, 0, static_cast<std::size_t>(whole * padded) * 4);
    for_each_key_block(task, kTileSizes, queries, [&](const KeyBlock& keys) {
      const std::int64_t columns = round_up(keys.count(), kTileDepth);
      multiply({whole, columns, padded, query, padded, key_turned + keys.begin, padded_tokens, logits, kKeyBlock, false});
      multiply({whole, columns, padded, grad, padded, value_turned + keys.begin, padded_tokens, grad_logits, kKeyBlock, false});
      for (std::int64_t row = 0; row < whole; ++row) {
        const std::int64_t token = queries.begin + row / task.shared;
        const Seen seen = row < count ? seen_keys(task, queries.segment, token, keys) : Seen{0, 0};
        const float sum = row < count ? log_sum[token * task.log_sum_stride + task.log_sum_offset + row % task.shared] : 0.0F;
        differentiate_row(task, seen, task.scale, columns, sum, mean_grad[row], logits + row * kKeyBlock, grad_logits + row * kKeyBlock);
        if (row % 2 == 0) continue;
        pair_rows(logits + (row - 1) * kKeyBlock, kKeyBlock, columns, share_pairs + row / 2 * kKeyBlock);
        pair_rows(grad_logits + (row - 1) * kKeyBlock, kKeyBlock, columns, grad_pairs + row / 2 * kKeyBlock,
                  grad_rows + (row - 1) * kKeyBlock);
      }
      multiply({padded, columns, whole, grad_turned, whole, share_pairs, kKeyBlock, grad_value + keys.begin, padded_tokens, true});
      multiply({padded, columns, whole, query_turned, whole, grad_pairs, kKeyBlock, grad_key + keys.begin, padded_tokens, true});
      multiply({whole, padded, columns, grad_rows, kKeyBlock, key + keys.begin / 2 * padded, padded, grad_query, padded, true});
    });
    scatter_queries(task, queries, grad_query, padded, task.scale, task.row_stride, task.query_offset, grad_qkv);
  });
  for (std::int64_t t = 0; t < task.tokens; ++t)
    for (std::int64_t e = 0; e < task.width; ++e) {
      Bfloat16Bits* const row = grad_qkv + t * task.row_stride + e;
      store_one(row + task.key_offset, grad_key[e * padded_tokens + t] * task.scale);
      store_one(row + task.value_offset, grad_value[e * padded_tokens + t]);
    }
}

}  // namespace
}  // namespace metarm
