// The loops behind cpu_kernels.h, for one instruction set: a source file defines METARM_VECTOR_FLOATS (floats in a register),
// METARM_TILE_ROWS (rows of a product that stay in registers) and METARM_KERNELS (the name of its table), and includes this. All is local
// to that file, so that the linker never mixes code of two instruction sets.

#include <cmath>
#include <cstdlib>
#include <new>

#include "metarm/model/cpu_kernels.h"

namespace metarm {
namespace {

constexpr std::int64_t kWide = METARM_VECTOR_FLOATS;
constexpr std::int64_t kColumns = 2 * kWide;  // of a tile of a product
constexpr int kTileRows = METARM_TILE_ROWS;
constexpr std::int64_t kQueryRows = 48;  // of one block of attention: queries times the heads that share a key
constexpr std::int64_t kKeyBlock = 128;

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
inline void store(Bfloat16Bits* to, Vec value) {  // to nearest, ties to even; NaN stays NaN
  const Bits bits = reinterpret_cast<Bits>(value);
  const Bits rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  const Bits kept = value != value ? Bits{} + 0x7fc0U : rounded;
  *reinterpret_cast<LooseShorts*>(to) = __builtin_convertvector(kept, Shorts);
}
inline float load_one(const float* from) { return *from; }
inline float load_one(const Bfloat16Bits* from) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(from->bits) << 16); }
inline void store_one(float* to, float value) { *to = value; }
inline void store_one(Bfloat16Bits* to, float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  to->bits = static_cast<std::uint16_t>(value != value ? 0x7fc0U : (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

inline Vec splat(float value) { return Vec{} + value; }
inline float sum_of(Vec value) {
  float sum = 0;
  for (std::int64_t i = 0; i < kWide; ++i) sum += value[i];
  return sum;
}
inline float max_of(Vec value) {
  float most = value[0];
  for (std::int64_t i = 1; i < kWide; ++i) most = value[i] > most ? value[i] : most;
  return most;
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

// ---- products of small matrices -------------------------------------------------------------------------------------------------------

// C [rows, columns] (+)= A B for A [rows, depth] with any strides and B [depth, columns]; `columns` is a multiple of kColumns.
struct Product {
  std::int64_t rows, columns, depth;
  const float* a;
  std::int64_t a_row, a_column;
  const float* b;
  std::int64_t b_row;
  float* c;
  std::int64_t c_row;
  bool add;
};

template <int kRows>
inline void product_tile(const Product& p, const float* a, const float* b, float* c) {
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

template <int kRows>
inline void product_rest(const Product& p, std::int64_t rows, const float* a, const float* b, float* c) {
  if constexpr (kRows > 0) {
    if (rows == kRows)
      product_tile<kRows>(p, a, b, c);
    else
      product_rest<kRows - 1>(p, rows, a, b, c);
  }
}

void multiply(const Product& p) {
  for (std::int64_t column = 0; column < p.columns; column += kColumns) {
    std::int64_t row = 0;
    for (; row + kTileRows <= p.rows; row += kTileRows)
      product_tile<kTileRows>(p, p.a + row * p.a_row, p.b + column, p.c + row * p.c_row + column);
    product_rest<kTileRows - 1>(p, p.rows - row, p.a + row * p.a_row, p.b + column, p.c + row * p.c_row + column);
  }
}

// ---- norms, activations, rotation -----------------------------------------------------------------------------------------------------

template <class Element>
void rms_norm(const Element* x, const Element* weight, bool add_one, float epsilon, std::int64_t rows, std::int64_t width, Element* out,
              float* inverse_root) {
  const float one = add_one ? 1.0F : 0.0F;
  for (std::int64_t row = 0; row < rows; ++row, x += width, out += width) {
    Vec squares{};
    float rest = 0;
    sweep(
        width, [&](std::int64_t i) { squares += load(x + i) * load(x + i); },
        [&](std::int64_t i) { rest += load_one(x + i) * load_one(x + i); });
    const float inverse = 1.0F / std::sqrt((sum_of(squares) + rest) / static_cast<float>(width) + epsilon);
    inverse_root[row] = inverse;
    sweep(
        width, [&](std::int64_t i) { store(out + i, load(x + i) * inverse * (load(weight + i) + one)); },
        [&](std::int64_t i) { store_one(out + i, load_one(x + i) * inverse * (load_one(weight + i) + one)); });
  }
}

template <class Element>
void rms_norm_backward(const Element* grad, const Element* x, const Element* weight, bool add_one, const float* inverse_root,
                       std::int64_t rows, std::int64_t width, Element* grad_x, float* grad_weight) {
  const float one = add_one ? 1.0F : 0.0F;
  for (std::int64_t row = 0; row < rows; ++row, grad += width, x += width, grad_x += width) {
    const float inverse = inverse_root[row];
    Vec along{};
    float rest = 0;
    sweep(
        width,
        [&](std::int64_t i) {
          const Vec g = load(grad + i), value = load(x + i);
          along += g * (load(weight + i) + one) * value;
          store(grad_weight + i, load(grad_weight + i) + g * value * inverse);
        },
        [&](std::int64_t i) {
          const float g = load_one(grad + i), value = load_one(x + i);
          rest += g * (load_one(weight + i) + one) * value;
          grad_weight[i] += g * value * inverse;
        });
    const float share = (sum_of(along) + rest) * inverse * inverse / static_cast<float>(width);
    sweep(
        width, [&](std::int64_t i) { store(grad_x + i, inverse * (load(grad + i) * (load(weight + i) + one) - load(x + i) * share)); },
        [&](std::int64_t i) {
          store_one(grad_x + i, inverse * (load_one(grad + i) * (load_one(weight + i) + one) - load_one(x + i) * share));
        });
  }
}

inline float sigmoid_of(float x) { return 1.0F / (1.0F + std::exp(-x)); }

template <class Element>
void silu_gate(const Element* x, std::int64_t rows, std::int64_t half, Element* out) {
  for (std::int64_t row = 0; row < rows; ++row, x += 2 * half, out += half) {
    const Element* up = x + half;
    sweep(
        half, [&](std::int64_t i) { store(out + i, load(x + i) * sigmoid_of(load(x + i)) * load(up + i)); },
        [&](std::int64_t i) { store_one(out + i, load_one(x + i) * sigmoid_of(load_one(x + i)) * load_one(up + i)); });
  }
}

template <class Element>
void silu_gate_backward(const Element* grad, const Element* x, std::int64_t rows, std::int64_t half, Element* grad_x) {
  const auto write = [&](std::int64_t i, auto g, auto gate, auto up, const auto& put) {
    const auto open = sigmoid_of(gate);
    put(grad_x + i, g * up * open * (1.0F + gate * (1.0F - open)));
    put(grad_x + half + i, g * gate * open);
  };
  for (std::int64_t row = 0; row < rows; ++row, grad += half, x += 2 * half, grad_x += 2 * half)
    sweep(
        half,
        [&](std::int64_t i) {
          write(i, load(grad + i), load(x + i), load(x + half + i), [](Element* to, Vec value) { store(to, value); });
        },
        [&](std::int64_t i) {
          write(i, load_one(grad + i), load_one(x + i), load_one(x + half + i), [](Element* to, float value) { store_one(to, value); });
        });
}

template <class Element>
void rotate(Element* x, const float* cosine, const float* sine, std::int64_t rows, std::int64_t row_stride, std::int64_t heads,
            std::int64_t width, std::int64_t rotary, bool inverse) {
  const std::int64_t half = rotary / 2;
  const float sign = inverse ? -1.0F : 1.0F;
  for (std::int64_t row = 0; row < rows; ++row, cosine += half, sine += half) {
    for (std::int64_t head = 0; head < heads; ++head) {
      Element *first = x + row * row_stride + head * width, *second = first + half;
      sweep(
          half,
          [&](std::int64_t i) {
            const Vec a = load(first + i), b = load(second + i), c = load(cosine + i), s = load(sine + i) * sign;
            store(first + i, a * c - b * s);
            store(second + i, b * c + a * s);
          },
          [&](std::int64_t i) {
            const float a = load_one(first + i), b = load_one(second + i), c = cosine[i], s = sine[i] * sign;
            store_one(first + i, a * c - b * s);
            store_one(second + i, b * c + a * s);
          });
    }
  }
}

// ---- attention ------------------------------------------------------------------------------------------------------------------------

inline std::int64_t round_up(std::int64_t count, std::int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// A zeroed float array that a thread keeps from one task to the next.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }
  float* zeros(std::int64_t count) {
    if (count > size_) {
      std::free(data_);
      size_ = 0;
      data_ = static_cast<float*>(std::aligned_alloc(64, static_cast<std::size_t>(round_up(count * 4, 64))));
      if (data_ == nullptr) throw std::bad_alloc();
      size_ = count;
    }
    for (std::int64_t i = 0; i < count; ++i) data_[i] = 0;
    return data_;
  }

 private:
  float* data_ = nullptr;
  std::int64_t size_ = 0;
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
// Keys [begin, end) of the tree, which lie at path positions from `position` on.
struct KeyBlock {
  std::int64_t begin, end, position;
  std::int64_t count() const { return end - begin; }
};

// Which keys of a block the query at `token` sees: [low, high), counted from the block's first.
struct Seen {
  std::int64_t low, high;
};
inline Seen seen_keys(const AttentionTask& task, const AttentionSegment& segment, std::int64_t token, const KeyBlock& keys) {
  const std::int64_t place = segment.prefix_length + token - segment.begin;  // of the query on its path
  std::int64_t low = task.window > 0 ? place - task.window + 1 - keys.position : 0, high = place + 1 - keys.position;
  low = low < 0 ? 0 : low;
  high = high > keys.count() ? keys.count() : high;
  return {low, high < low ? low : high};
}

template <class Work>
void for_each_query_block(const AttentionTask& task, const Work& work) {
  const std::int64_t step = task.shared >= kQueryRows ? 1 : kQueryRows / task.shared;
  for (std::int64_t s = 0; s < task.segment_count; ++s) {
    const AttentionSegment& segment = task.segments[s];
    for (std::int64_t begin = segment.begin; begin < segment.end; begin += step)
      work(QueryBlock{segment, begin, begin + step < segment.end ? begin + step : segment.end});
  }
}

// The blocks of keys that some query of the block sees: of the prefix, then of the segment.
template <class Work>
void for_each_key_block(const AttentionTask& task, const QueryBlock& queries, const Work& work) {
  const AttentionSegment& segment = queries.segment;
  const auto span = [&](std::int64_t from, std::int64_t to, std::int64_t position) {
    for (std::int64_t begin = from; begin < to; begin += kKeyBlock) {
      const KeyBlock keys{begin, begin + kKeyBlock < to ? begin + kKeyBlock : to, position + begin - from};
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

// Registers of a row of logits with their places, where a column outside `seen` counts as hidden.
template <class Work>
inline void for_each_column(std::int64_t columns, Seen seen, const Work& work) {
  Ints place{};
  for (std::int64_t i = 0; i < kWide; ++i) place[i] = static_cast<std::int32_t>(i);
  const auto low = static_cast<std::int32_t>(seen.low), high = static_cast<std::int32_t>(seen.high);
  for (std::int64_t i = 0; i < columns; i += kWide, place += static_cast<std::int32_t>(kWide)) work(i, (place >= low) & (place < high));
}

inline Vec capped(Vec logit, float softcap) { return softcap > 0 ? softcap * tanh_of(logit / softcap) : logit; }

// Takes a row's block of logits into its softmax, whose maximum and sum so far are in `row_most` and `row_total`, and its output in `out`.
inline void add_block(const AttentionTask& task, Seen seen, std::int64_t columns, std::int64_t padded, float* logits, float* out,
                      float& row_most, float& row_total) {
  const Vec hidden = splat(-INFINITY);
  Vec most = hidden;
  for_each_column(columns, seen, [&](std::int64_t i, Ints visible) {
    const Vec logit = visible ? capped(load(logits + i), task.softcap) : hidden;
    store(logits + i, logit);
    most = logit > most ? logit : most;
  });
  const float block_most = max_of(most), new_most = block_most > row_most ? block_most : row_most;
  const float faded = std::exp(row_most - new_most);
  Vec total{};
  for_each_column(columns, seen, [&](std::int64_t i, Ints visible) {
    const Vec share = visible ? exp_of(load(logits + i) - new_most) : Vec{};
    store(logits + i, share);
    total += share;
  });
  row_most = new_most;
  row_total = row_total * faded + sum_of(total);
  if (faded != 1.0F)
    for (std::int64_t e = 0; e < padded; e += kWide) store(out + e, load(out + e) * faded);
}

template <class Element>
void attention(const AttentionTask& task, const Element* qkv, Element* out, float* log_sum) {
  static thread_local Scratch scratch;
  const std::int64_t padded = round_up(task.width, kColumns), padded_tokens = round_up(task.tokens, kColumns) + kColumns;
  const std::int64_t rows = task.shared >= kQueryRows ? task.shared : kQueryRows;
  float* const key_turned = scratch.zeros(task.width * padded_tokens + task.tokens * padded + rows * (2 * padded + kKeyBlock + 2));
  float* const value = key_turned + task.width * padded_tokens;
  float* const query = value + task.tokens * padded;
  float* const mixed = query + rows * padded;
  float* const logits = mixed + rows * padded;
  float* const most = logits + rows * kKeyBlock;
  float* const total = most + rows;
  gather_turned(task, qkv, task.key_offset, padded_tokens, key_turned);
  gather_rows(task, qkv, task.value_offset, padded, value);

  for_each_query_block(task, [&](const QueryBlock& queries) {
    const std::int64_t count = (queries.end - queries.begin) * task.shared;
    gather_queries(task, queries, qkv, task.row_stride, task.query_offset, task.scale, padded, query);
    for (std::int64_t i = 0; i < count * padded; ++i) mixed[i] = 0;
    for (std::int64_t row = 0; row < count; ++row) most[row] = -INFINITY, total[row] = 0;
    for_each_key_block(task, queries, [&](const KeyBlock& keys) {
      const std::int64_t columns = round_up(keys.count(), kColumns);
      multiply({count, columns, task.width, query, padded, 1, key_turned + keys.begin, padded_tokens, logits, kKeyBlock, false});
      for (std::int64_t row = 0; row < count; ++row) {
        const Seen seen = seen_keys(task, queries.segment, queries.begin + row / task.shared, keys);
        float* const row_logits = logits + row * kKeyBlock;
        if (seen.low < seen.high)
          add_block(task, seen, columns, padded, row_logits, mixed + row * padded, most[row], total[row]);
        else
          for (std::int64_t i = 0; i < columns; ++i) row_logits[i] = 0;
      }
      multiply({count, padded, keys.count(), logits, kKeyBlock, 1, value + keys.begin * padded, padded, mixed, padded, true});
    });
    for (std::int64_t row = 0; row < count; ++row) {
      for (std::int64_t e = 0; e < padded; e += kWide) store(mixed + row * padded + e, load(mixed + row * padded + e) / total[row]);
      log_sum[(queries.begin + row / task.shared) * task.log_sum_stride + task.log_sum_offset + row % task.shared] =
          most[row] + std::log(total[row]);
    }
    scatter_queries(task, queries, mixed, padded, 1.0F, task.out_stride, task.out_offset, out);
  });
}

inline float dot(const float* a, const float* b, std::int64_t count) {  // `count` is a multiple of kWide
  Vec sum{};
  for (std::int64_t i = 0; i < count; i += kWide) sum += load(a + i) * load(b + i);
  return sum_of(sum);
}

// A row of logits becomes its probabilities and, in `grads` (the products of the output's gradient with the values), the logits' gradients.
inline void differentiate_row(const AttentionTask& task, Seen seen, std::int64_t columns, float log_sum, float mean_grad, float* logits,
                              float* grads) {
  for_each_column(columns, seen, [&](std::int64_t i, Ints visible) {
    const Vec uncapped = load(logits + i), logit = capped(uncapped, task.softcap);
    const Vec share = visible ? exp_of(logit - log_sum) : Vec{};
    Vec grad = share * (load(grads + i) - mean_grad);
    if (task.softcap > 0) grad *= 1.0F - (logit / task.softcap) * (logit / task.softcap);
    store(logits + i, share);
    store(grads + i, visible ? grad : Vec{});
  });
}

template <class Element>
void attention_backward(const AttentionTask& task, const Element* qkv, const Element* out, const Element* grad_out, const float* log_sum,
                        Element* grad_qkv) {
  static thread_local Scratch scratch;
  const std::int64_t padded = round_up(task.width, kColumns), padded_tokens = round_up(task.tokens, kColumns) + kColumns;
  const std::int64_t rows = task.shared >= kQueryRows ? task.shared : kQueryRows;
  const std::int64_t turned = task.width * padded_tokens, flat = task.tokens * padded;
  float* const key_turned = scratch.zeros(2 * turned + 3 * flat + rows * (4 * padded + 2 * kKeyBlock + 1));
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

  for_each_query_block(task, [&](const QueryBlock& queries) {
    const std::int64_t count = (queries.end - queries.begin) * task.shared;
    gather_queries(task, queries, qkv, task.row_stride, task.query_offset, task.scale, padded, query);
    gather_queries(task, queries, grad_out, task.out_stride, task.out_offset, 1.0F, padded, grad);
    gather_queries(task, queries, out, task.out_stride, task.out_offset, 1.0F, padded, mixed);
    for (std::int64_t i = 0; i < count * padded; ++i) grad_query[i] = 0;
    for (std::int64_t row = 0; row < count; ++row) mean_grad[row] = dot(grad + row * padded, mixed + row * padded, padded);
    for_each_key_block(task, queries, [&](const KeyBlock& keys) {
      const std::int64_t columns = round_up(keys.count(), kColumns);
      multiply({count, columns, task.width, query, padded, 1, key_turned + keys.begin, padded_tokens, logits, kKeyBlock, false});
      multiply({count, columns, task.width, grad, padded, 1, value_turned + keys.begin, padded_tokens, grad_logits, kKeyBlock, false});
      for (std::int64_t row = 0; row < count; ++row) {
        const std::int64_t token = queries.begin + row / task.shared;
        differentiate_row(task, seen_keys(task, queries.segment, token, keys), columns,
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

template <class Element>
constexpr CpuKernelsOf<Element> make_kernels() {
  return {rms_norm<Element>, rms_norm_backward<Element>, silu_gate<Element>,         silu_gate_backward<Element>,
          rotate<Element>,   attention<Element>,         attention_backward<Element>};
}

}  // namespace

extern const CpuKernels METARM_KERNELS;
const CpuKernels METARM_KERNELS = {METARM_KERNELS_NAME, make_kernels<float>(), make_kernels<Bfloat16Bits>()};

}  // namespace metarm
