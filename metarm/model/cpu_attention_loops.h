// Attention of one key/value head of one token tree: blocks of queries over blocks of keys (cpu_kernels_loops.h).
#pragma once

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

#include "metarm/model/cpu_vectors.h"

namespace metarm {
namespace {

constexpr std::int64_t kKeyBlock = 128;
// How attention is cut: rows of a block of queries (tokens times the heads that share a key), and of what number a block's first key is a
// multiple.
struct BlockSizes {
  std::int64_t query_rows, key_alignment;
};
constexpr BlockSizes kSizes = {48, 1};

inline std::int64_t round_up(std::int64_t count, std::int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// Zeroed memory that a thread keeps from one task to the next.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }
  void* zeros(std::int64_t bytes) {
    const auto size = static_cast<std::size_t>(round_up(bytes, 64));
    if (size > size_) {
      std::free(data_);
      size_ = 0;
      data_ = std::aligned_alloc(64, size);
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = size;
    }
    return std::memset(data_, 0, size);
  }
  float* zero_floats(std::int64_t count) { return static_cast<float*>(zeros(count * 4)); }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Copies `count` elements, times `factor`.
template <class Element>
inline void widen(const Element* from, std::int64_t count, float factor, float* to) {
  sweep(
      count, [&](std::int64_t i) { store(to + i, load(from + i) * factor); }, [&](std::int64_t i) { to[i] = load_one(from + i) * factor; });
}
template <class Element>
inline void narrow(const float* from, std::int64_t count, float factor, Element* to) {
  sweep(
      count, [&](std::int64_t i) { store(to + i, load(from + i) * factor); }, [&](std::int64_t i) { store_one(to + i, from[i] * factor); });
}

// The head's keys or values as [tokens, padded] rows, or turned as [E, tokens padded].
template <class Element>
void gather_rows(const AttentionTask& task, const Element* qkv, std::int64_t offset, std::int64_t padded, float* rows) {
  for (std::int64_t t = 0; t < task.tokens; ++t) widen(qkv + t * task.row_stride + offset, task.width, 1.0F, rows + t * padded);
}
template <class Element>
void gather_turned(const AttentionTask& task, const Element* qkv, std::int64_t offset, std::int64_t padded_tokens, float* turned) {
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    const Element* row = qkv + t * task.row_stride + offset;
    for (std::int64_t e = 0; e < task.width; ++e) turned[e * padded_tokens + t] = load_one(row + e);
  }
}

// A block of queries of one segment: tokens [begin, end), `shared` rows a token.
struct QueryBlock {
  const AttentionSegment& segment;
  std::int64_t begin, end;
};
// Keys [begin, end) of the tree, which lie at path positions from `position` on, but for the first `foreign`, which are on no path of the
// block's queries.
struct KeyBlock {
  std::int64_t begin, end, position, foreign;
  std::int64_t count() const { return end - begin; }
};

// Which keys of a block the query at `token` sees: [low, high), counted from the block's first.
struct Seen {
  std::int64_t low, high;
};
inline Seen seen_keys(const AttentionTask& task, const AttentionSegment& segment, std::int64_t token, const KeyBlock& keys) {
  const std::int64_t place = segment.prefix_length + token - segment.begin;  // of the query on its path
  std::int64_t low = task.window > 0 ? place - task.window + 1 - keys.position : 0, high = place + 1 - keys.position;
  low = low < keys.foreign ? keys.foreign : low;
  high = high > keys.count() ? keys.count() : high;
  return {low, high < low ? low : high};
}

template <class Work>
void for_each_query_block(const AttentionTask& task, const BlockSizes& sizes, const Work& work) {
  const std::int64_t step = task.shared >= sizes.query_rows ? 1 : sizes.query_rows / task.shared;
  for (std::int64_t s = 0; s < task.segment_count; ++s) {
    const AttentionSegment& segment = task.segments[s];
    for (std::int64_t begin = segment.begin; begin < segment.end; begin += step)
      work(QueryBlock{segment, begin, begin + step < segment.end ? begin + step : segment.end});
  }
}

// The blocks of keys that some query of the block sees: of the prefix, then of the segment.
template <class Work>
void for_each_key_block(const AttentionTask& task, const BlockSizes& sizes, const QueryBlock& queries, const Work& work) {
  const AttentionSegment& segment = queries.segment;
  const auto span = [&](std::int64_t from, std::int64_t to, std::int64_t position) {
    for (std::int64_t begin = from - from % sizes.key_alignment; begin < to; begin += kKeyBlock) {
      const KeyBlock keys{begin, begin + kKeyBlock < to ? begin + kKeyBlock : to, position + begin - from, begin < from ? from - begin : 0};
      if (seen_keys(task, segment, queries.begin, keys).low < keys.count()) work(keys);
    }
  };
  span(0, segment.prefix_length, 0);
  span(segment.begin, queries.end, segment.prefix_length);
}

template <class Element>
void gather_queries(const AttentionTask& task, const QueryBlock& queries, const Element* from, std::int64_t stride, std::int64_t offset,
                    float factor, std::int64_t padded, float* rows) {
  for (std::int64_t t = queries.begin; t < queries.end; ++t)
    for (std::int64_t h = 0; h < task.shared; ++h, rows += padded)
      widen(from + t * stride + offset + h * task.width, task.width, factor, rows);
}
template <class Element>
void scatter_queries(const AttentionTask& task, const QueryBlock& queries, const float* rows, std::int64_t padded, float factor,
                     std::int64_t stride, std::int64_t offset, Element* to) {
  for (std::int64_t t = queries.begin; t < queries.end; ++t)
    for (std::int64_t h = 0; h < task.shared; ++h, rows += padded)
      narrow(rows, task.width, factor, to + t * stride + offset + h * task.width);
}

// Registers of a row of logits, with which of their columns are in `seen`: all, none, or some.
template <class Work>
inline void for_each_column(std::int64_t columns, Seen seen, const Work& work) {
  Ints place{};
  for (std::int64_t i = 0; i < kWide; ++i) place[i] = static_cast<std::int32_t>(i);
  for (std::int64_t i = 0; i < columns; i += kWide) {
    if (seen.low <= i && i + kWide <= seen.high)
      work(i, std::true_type());
    else if (i + kWide <= seen.low || seen.high <= i)
      work(i, std::false_type());
    else
      work(i, (place >= static_cast<std::int32_t>(seen.low - i)) & (place < static_cast<std::int32_t>(seen.high - i)));
  }
}
// `value()` in the columns that are seen, `hidden` in others.
template <class Value>
inline Vec where(std::true_type, const Value& value, Vec) {
  return value();
}
template <class Value>
inline Vec where(std::false_type, const Value&, Vec hidden) {
  return hidden;
}
template <class Value>
inline Vec where(Ints visible, const Value& value, Vec hidden) {
  return visible ? value() : hidden;
}

inline Vec capped(Vec logit, float softcap) { return softcap > 0 ? softcap * tanh_of(logit / softcap) : logit; }

// Scales and caps a row of logits and hides those that are not seen; returns the highest, by places in a register.
inline Vec cap_logits(std::int64_t columns, Seen seen, float scale, float softcap, float* logits) {
  const Vec hidden = splat(-INFINITY);
  Vec most = hidden;
  for_each_column(columns, seen, [&](std::int64_t i, auto visible) {
    const Vec logit = where(
        visible, [&] { return capped(load(logits + i) * scale, softcap); }, hidden);
    store(logits + i, logit);
    most = logit > most ? logit : most;
  });
  return most;
}
// e^(logit - highest), 0 for those that are not seen; returns their sum, by places in a register.
template <class Share>
inline Vec take_shares(std::int64_t columns, Seen seen, float highest, const float* logits, Share* shares) {
  Vec total{};
  for_each_column(columns, seen, [&](std::int64_t i, auto visible) {
    const Vec share = where(
        visible, [&] { return exp_of(load(logits + i) - highest); }, Vec{});
    store(shares + i, share);
    total += share;
  });
  return total;
}

// Takes a row's block of logits into its softmax, whose maximum and sum so far are in `row_most` and `row_total`, and its output in `out`;
// leaves the block's shares in `shares`, which may be the logits' own place.
template <class Share>
inline void add_block(const AttentionTask& task, Seen seen, float scale, std::int64_t columns, std::int64_t padded, float* logits,
                      Share* shares, float* out, float& row_most, float& row_total) {
  const float block_most = max_of(cap_logits(columns, seen, scale, task.softcap, logits)),
              new_most = block_most > row_most ? block_most : row_most;
  const float faded = row_most == new_most ? 1.0F : std::exp(row_most - new_most);
  row_most = new_most;
  row_total = row_total * faded + sum_of(take_shares(columns, seen, new_most, logits, shares));
  if (faded != 1.0F)
    for (std::int64_t e = 0; e < padded; e += kWide) store(out + e, load(out + e) * faded);
}

// The block's outputs, of which `mixed` has the sums, and the logarithms of their softmaxes' sums.
template <class Element>
void finish_queries(const AttentionTask& task, const QueryBlock& queries, std::int64_t padded, const float* most, const float* total,
                    float* mixed, Element* out, float* log_sum) {
  for (std::int64_t row = 0; row < (queries.end - queries.begin) * task.shared; ++row) {
    for (std::int64_t e = 0; e < padded; e += kWide) store(mixed + row * padded + e, load(mixed + row * padded + e) / total[row]);
    log_sum[(queries.begin + row / task.shared) * task.log_sum_stride + task.log_sum_offset + row % task.shared] =
        most[row] + std::log(total[row]);
  }
  scatter_queries(task, queries, mixed, padded, 1.0F, task.out_stride, task.out_offset, out);
}

template <class Element>
void attention(const AttentionTask& task, const Element* qkv, Element* out, float* log_sum) {
  static thread_local Scratch scratch;
  const std::int64_t padded = round_up(task.width, kColumns), padded_tokens = round_up(task.tokens, kColumns) + kColumns;
  const std::int64_t rows = task.shared >= kSizes.query_rows ? task.shared : kSizes.query_rows;
  float* const key_turned = scratch.zero_floats(task.width * padded_tokens + task.tokens * padded + rows * (2 * padded + kKeyBlock + 2));
  float* const value = key_turned + task.width * padded_tokens;
  float* const query = value + task.tokens * padded;
  float* const mixed = query + rows * padded;
  float* const logits = mixed + rows * padded;
  float* const most = logits + rows * kKeyBlock;
  float* const total = most + rows;
  gather_turned(task, qkv, task.key_offset, padded_tokens, key_turned);
  gather_rows(task, qkv, task.value_offset, padded, value);

  for_each_query_block(task, kSizes, [&](const QueryBlock& queries) {
    const std::int64_t count = (queries.end - queries.begin) * task.shared;
    gather_queries(task, queries, qkv, task.row_stride, task.query_offset, task.scale, padded, query);
    for (std::int64_t i = 0; i < count * padded; ++i) mixed[i] = 0;
    for (std::int64_t row = 0; row < count; ++row) most[row] = -INFINITY, total[row] = 0;
    for_each_key_block(task, kSizes, queries, [&](const KeyBlock& keys) {
      const std::int64_t columns = round_up(keys.count(), kColumns);
      multiply({count, columns, task.width, query, padded, 1, key_turned + keys.begin, padded_tokens, logits, kKeyBlock, false});
      for (std::int64_t row = 0; row < count; ++row) {
        const Seen seen = seen_keys(task, queries.segment, queries.begin + row / task.shared, keys);
        float* const row_logits = logits + row * kKeyBlock;
        if (seen.low < seen.high)
          add_block(task, seen, 1.0F, columns, padded, row_logits, row_logits, mixed + row * padded, most[row], total[row]);
        else
          for (std::int64_t i = 0; i < columns; ++i) row_logits[i] = 0;
      }
      multiply({count, padded, keys.count(), logits, kKeyBlock, 1, value + keys.begin * padded, padded, mixed, padded, true});
    });
    finish_queries(task, queries, padded, most, total, mixed, out, log_sum);
  });
}

template <class Element>
inline float dot(const Element* a, const Element* b, std::int64_t count) {  // `count` is a multiple of kWide
  Vec sum{};
  for (std::int64_t i = 0; i < count; i += kWide) sum += load(a + i) * load(b + i);
  return sum_of(sum);
}

// A row of logits becomes its probabilities and, in `grads` (the products of the output's gradient with the values), the gradients of the
// scaled logits.
inline void differentiate_row(const AttentionTask& task, Seen seen, float scale, std::int64_t columns, float log_sum, float mean_grad,
                              float* logits, float* grads) {
  for_each_column(columns, seen, [&](std::int64_t i, auto visible) {
    const Vec uncapped = load(logits + i) * scale, logit = capped(uncapped, task.softcap);
    const Vec share = where(
        visible, [&] { return exp_of(logit - log_sum); }, Vec{});
    Vec grad = share * (load(grads + i) - mean_grad);
    if (task.softcap > 0) grad *= 1.0F - (logit / task.softcap) * (logit / task.softcap);
    store(logits + i, share);
    store(grads + i, where(
                         visible, [&] { return grad; }, Vec{}));
  });
}

template <class Element>
void attention_backward(const AttentionTask& task, const Element* qkv, const Element* out, const Element* grad_out, const float* log_sum,
                        Element* grad_qkv) {
  static thread_local Scratch scratch;
  const std::int64_t padded = round_up(task.width, kColumns), padded_tokens = round_up(task.tokens, kColumns) + kColumns;
  const std::int64_t rows = task.shared >= kSizes.query_rows ? task.shared : kSizes.query_rows;
  const std::int64_t turned = task.width * padded_tokens, flat = task.tokens * padded;
  float* const key_turned = scratch.zero_floats(2 * turned + 3 * flat + rows * (4 * padded + 2 * kKeyBlock + 1));
  float* const value_turned = key_turned + turned;
  float* const key = value_turned + turned;
  float* const grad_key = key + flat;
  float* const grad_value = grad_key + flat;
  float* const query = grad_value + flat;
  float* const grad_query = query + rows * padded;
  float* const grad = grad_query + rows * padded;
  float* const mixed = grad + rows * padded;
  float* const logits = mixed + rows * padded;
  float* const grad_logits = logits + rows * kKeyBlock;
  float* const mean_grad = grad_logits + rows * kKeyBlock;
  gather_turned(task, qkv, task.key_offset, padded_tokens, key_turned);
  gather_turned(task, qkv, task.value_offset, padded_tokens, value_turned);
  gather_rows(task, qkv, task.key_offset, padded, key);

  for_each_query_block(task, kSizes, [&](const QueryBlock& queries) {
    const std::int64_t count = (queries.end - queries.begin) * task.shared;
    gather_queries(task, queries, qkv, task.row_stride, task.query_offset, task.scale, padded, query);
    gather_queries(task, queries, grad_out, task.out_stride, task.out_offset, 1.0F, padded, grad);
    gather_queries(task, queries, out, task.out_stride, task.out_offset, 1.0F, padded, mixed);
    for (std::int64_t i = 0; i < count * padded; ++i) grad_query[i] = 0;
    for (std::int64_t row = 0; row < count; ++row) mean_grad[row] = dot(grad + row * padded, mixed + row * padded, padded);
    for_each_key_block(task, kSizes, queries, [&](const KeyBlock& keys) {
      const std::int64_t columns = round_up(keys.count(), kColumns);
      multiply({count, columns, task.width, query, padded, 1, key_turned + keys.begin, padded_tokens, logits, kKeyBlock, false});
      multiply({count, columns, task.width, grad, padded, 1, value_turned + keys.begin, padded_tokens, grad_logits, kKeyBlock, false});
      for (std::int64_t row = 0; row < count; ++row) {
        const std::int64_t token = queries.begin + row / task.shared;
        differentiate_row(task, seen_keys(task, queries.segment, token, keys), 1.0F, columns,
                          log_sum[token * task.log_sum_stride + task.log_sum_offset + row % task.shared], mean_grad[row],
                          logits + row * kKeyBlock, grad_logits + row * kKeyBlock);
      }
      multiply({keys.count(), padded, count, logits, 1, kKeyBlock, grad, padded, grad_value + keys.begin * padded, padded, true});
      multiply({keys.count(), padded, count, grad_logits, 1, kKeyBlock, query, padded, grad_key + keys.begin * padded, padded, true});
      multiply({count, padded, keys.count(), grad_logits, kKeyBlock, 1, key + keys.begin * padded, padded, grad_query, padded, true});
    });
    scatter_queries(task, queries, grad_query, padded, task.scale, task.row_stride, task.query_offset, grad_qkv);
  });
  for (std::int64_t t = 0; t < task.tokens; ++t) {
    narrow(grad_key + t * padded, task.width, 1.0F, grad_qkv + t * task.row_stride + task.key_offset);
    narrow(grad_value + t * padded, task.width, 1.0F, grad_qkv + t * task.row_stride + task.value_offset);
  }
}

}  // namespace
}  // namespace metarm
