// The CPU's inner loops, compiled once for each instruction set and chosen when the program starts. Everything here works on plain arrays:
// callers divide the work among threads. Elements are float32 or bfloat16; all arithmetic is float32.
#pragma once

#include <cstdint>

namespace metarm {

// bfloat16 as its bits.
struct Bfloat16Bits {
  std::uint16_t bits;
};

// Attention of one key/value head of one token tree. Tokens are counted from the tree's first; rows of `qkv` lie `row_stride` elements
// apart, the head's queries (`shared` of them, E each), key and value at the given offsets.
struct AttentionSegment {
  std::int64_t begin, end;     // queries, and the keys they see causally
  std::int64_t prefix_length;  // keys [0, prefix_length) of the tree, which they see wholly
};
struct AttentionTask {
  const AttentionSegment* segments;
  std::int64_t segment_count, tokens;                               // of the tree
  std::int64_t width, shared;                                       // E, and how many query heads share the key/value head
  std::int64_t row_stride, query_offset, key_offset, value_offset;  // elements of qkv
  std::int64_t out_stride, out_offset;                              // elements of the output and its gradient
  std::int64_t log_sum_stride, log_sum_offset;                      // of the log-sum-exp, float32, one a query
  float scale, softcap;                                             // softcap 0: none
  std::int64_t window;                                              // 0: all
};

// Attention of one key/value head of one prompt's branches, each of which reads one more token. Keys are kept turned, values by rows, in
// float32; what lies between the tokens and a stride is of no matter. Strides are multiples of kDecodePadding.
constexpr std::int64_t kDecodePadding = 32;
struct DecodeBranch {
  float* key;           // [E, own_stride]
  float* value;         // [own_stride, value_stride]
  std::int64_t tokens;  // with the new one, whose key and value are put in their place
};
struct DecodeTask {
  const DecodeBranch* branches;  // rows of qkv and of the output, in order
  std::int64_t branch_count, prompt_tokens;
  const float* prompt_key;    // [E, prompt_stride]
  const float* prompt_value;  // [prompt_tokens, value_stride]
  std::int64_t prompt_stride, own_stride, value_stride;
  std::int64_t width, shared;                                       // as in AttentionTask, and what follows
  std::int64_t row_stride, query_offset, key_offset, value_offset;  // elements of qkv
  std::int64_t out_stride, out_offset;
  float scale, softcap;
  std::int64_t window;
};

template <class Element>
struct CpuKernelsOf {
  // Rows of `width`: out = x / sqrt(mean(x^2) + epsilon) * (add_one ? 1 + weight : weight); inverse_root[row] is kept for the backward.
  void (*rms_norm)(const Element* x, const Element* weight, bool add_one, float epsilon, std::int64_t rows, std::int64_t width,
                   Element* out, float* inverse_root);
  // grad_x is written, grad_weight (float32 [width]) added to.
  void (*rms_norm_backward)(const Element* grad, const Element* x, const Element* weight, bool add_one, const float* inverse_root,
                            std::int64_t rows, std::int64_t width, Element* grad_x, float* grad_weight);
  // Rows of 2F: out[F] = silu(first half) * second half.
  void (*silu_gate)(const Element* x, std::int64_t rows, std::int64_t half, Element* out);
  void (*silu_gate_backward)(const Element* grad, const Element* x, std::int64_t rows, std::int64_t half, Element* grad_x);
  // Rotates the first `rotary` components of `heads` heads of E in each row of `row_stride`, halves apart, in place; cosine and sine are
  // [rows, rotary / 2]. `inverse` turns back.
  void (*rotate)(Element* x, const float* cosine, const float* sine, std::int64_t rows, std::int64_t row_stride, std::int64_t heads,
                 std::int64_t width, std::int64_t rotary, bool inverse);
  void (*attention)(const AttentionTask& task, const Element* qkv, Element* out, float* log_sum);
  // grad_qkv has the layout of qkv; the head's part of it is written.
  void (*attention_backward)(const AttentionTask& task, const Element* qkv, const Element* out, const Element* grad_out,
                             const float* log_sum, Element* grad_qkv);
  void (*attention_of_branches)(const DecodeTask& task, const Element* qkv, Element* out);
};

// Rows times a panel, some outputs of a weight: out [rows, panel_columns] = x [rows, depth] · panel [depth, panel_columns], and times
// `scale` [panel_columns] where there is one.
struct PanelTask {
  std::int64_t rows, depth;
  const float* x;
  std::int64_t x_stride;
  float* out;
  std::int64_t out_stride;
};

// The same for a panel in pairs, [depth / 2, kPairColumns, 2]: numbers of two rows of the weight's columns side by side. Rows and depth are
// multiples of kPairRows and kPairDepth.
constexpr std::int64_t kPairRows = 16, kPairDepth = 32, kPairColumns = 32;
struct PairTask {
  std::int64_t rows, depth;
  const Bfloat16Bits* x;  // [rows, depth]
  float* out;
  std::int64_t out_stride;
};

// Weights as a compute copy has them: bfloat16(x + scale · direction), or of x alone where `direction` is null. To nearest, or with `noise`
// stochastically, by 16 random bits an element.
struct WeightTask {
  const float* x;
  const float* direction;
  float scale;
  const std::uint16_t* noise;
  std::int64_t count;
};
// Of a step that takes a copy from bfloat16(x) to bfloat16(x + step): the product of the two differences, and the step's square.
struct WeightShift {
  float kept, length;
};

struct CpuKernels {
  const char* instruction_set;
  CpuKernelsOf<float> float32;
  CpuKernelsOf<Bfloat16Bits> bfloat16;
  // out[i] = e^((x[i] - max of x) * factor), at least e^-87.3.
  void (*exponentials)(const float* x, std::int64_t count, float factor, float* out);
  std::int64_t panel_columns;
  void (*multiply_float32_panel)(const PanelTask& task, const float* panel, const float* scale);
  void (*multiply_bfloat16_panel)(const PanelTask& task, const Bfloat16Bits* panel, const float* scale);
  void (*multiply_int8_panel)(const PanelTask& task, const std::int8_t* panel, const float* scale);
  void (*multiply_pairs)(const PairTask& task, const std::uint32_t* panel);  // null where there are no tiles
  void (*round_weights)(const WeightTask& task, Bfloat16Bits* out);
  WeightShift (*shift_weights)(const WeightTask& task, Bfloat16Bits* copy);  // with a direction; the copy is written
  void (*add_gradient)(const Bfloat16Bits* gradient, std::int64_t count, float* sum);
};

// The best that this processor runs: AVX-512 with AMX, AVX-512, AVX2, or what the compiler makes for any processor.
const CpuKernels& cpu_kernels();
// All that this processor runs, best first, for tests.
struct CpuKernelList {
  const CpuKernels* kernels[4];
  int count;
};
CpuKernelList list_cpu_kernels();

template <class Element>
const CpuKernelsOf<Element>& cpu_kernels_of() {
  if constexpr (sizeof(Element) == sizeof(float))
    return cpu_kernels().float32;
  else
    return cpu_kernels().bfloat16;
}

}  // namespace metarm
