// Tree attention on the CPU, forward and backward, without masks, repeated heads or a matrix of all logits: blocks of queries go over
// blocks of keys with a running softmax (the scheme of FlashAttention, arXiv 2205.14135), on the loops of cpu_kernels.h. Kept for the
// backward pass: queries, keys and values once, the output, and a log-sum-exp for each query.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "metarm/model/cpu_kernels.h"
#include "metarm/model/spec.h"
#include "metarm/model/token_tree.h"

namespace metarm {

// The rotary angles of N positions, float32 [N, rotary / 2]; undefined where positions are learned.
struct Rotary {
  at::Tensor cosine, sine;
};

// What does not change from layer to layer of a batch.
struct TreeAttentionSpec {
  struct Tree {
    std::int64_t begin, tokens;              // in the batch
    std::vector<AttentionSegment> segments;  // counted from the tree's first token
  };
  std::vector<Tree> trees;
  std::int64_t heads, kv_heads, head_width, rotary_width;
  float scale, softcap;
};
TreeAttentionSpec make_tree_attention_spec(const ModelSpec& spec, const std::vector<Segment>& segments);

// softmax(scale * q k^T) v along each path, for queries, keys and values by head, not yet rotated: qkv [N, H + 2 G, E], contiguous, float32
// or bfloat16 -> [N, H, E], with first derivatives. qkv is rotated in place. The same for any number of threads.
at::Tensor tree_attention_cpu(const std::shared_ptr<const TreeAttentionSpec>& spec, std::int64_t window, const at::Tensor& qkv,
                              const Rotary& rotary);

// Rotates the first `heads` heads of x [N, heads and more, E] in place, or back.
void rotate_heads(const at::Tensor& x, std::int64_t heads, std::int64_t rotary_width, const Rotary& rotary, bool inverse);

}  // namespace metarm
