// Attention over token trees: each segment's tokens see the segment's prefix wholly and the segment itself causally.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "metarm/model/spec.h"
#include "metarm/model/token_tree.h"
#include "metarm/model/tree_attention_cpu.h"

namespace metarm {

// The rotary angles of N positions; undefined where positions are learned.
Rotary make_rotary(const ModelSpec& spec, const at::Tensor& position_N);

// Attention of one layer over what its projection made: queries, keys and values by head, not yet rotated, [N, H + 2 G, E] -> [N, H, E].
// The argument may be rotated in place: its caller reads it no more.
using Attention = std::function<at::Tensor(std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary)>;

// Rotated queries [N, H, E] and keys [N, G, E], and values [N, G, E].
struct Heads {
  at::Tensor query_NHE, key_NGE, value_NGE;
};
// By torch's own operations: on any device, differentiable as often as wished.
Heads split_heads(const ModelSpec& spec, const at::Tensor& qkv, const Rotary& rotary);

// On the CPU by tree_attention_cpu.h; on a GPU by torch's fused attention, a segment at a time; where second derivatives or a soft cap on a
// GPU are asked for, plainly. Masks are made once a batch and shared by its layers.
class TreeAttention {
 public:
  TreeAttention(const ModelSpec& spec, std::span<const Segment> segments, bool twice_differentiable);

  // softmax(scale * q k^T) v along each path.
  at::Tensor operator()(std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary);
  at::Tensor operator()(std::int64_t layer, const Heads& heads);  // by torch's operations

 private:
  const at::Tensor& visible(std::int64_t length, std::int64_t prefix_length, std::int64_t window, at::Device device);

  at::Tensor attend_segment(const Segment& segment, std::int64_t window, const Heads& heads);

  const ModelSpec& spec_;
  std::vector<Segment> segments_;
  bool twice_differentiable_;
  std::shared_ptr<const TreeAttentionSpec> cpu_spec_;
  std::map<std::vector<std::int64_t>, at::Tensor> masks_;  // by (length, prefix length, window)
};

// scale * q k^T, soft-capped where the model is: query [.., Q, E], key_turned [.., E, K] -> float32 [.., Q, K].
at::Tensor attention_logits(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key_turned);

// Plain attention of a block of queries over keys: query [H, Q, E], key and value [G, K, E], visible [Q, K] boolean or undefined -> [H, Q,
// E].
at::Tensor plain_attention(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& visible);

}  // namespace metarm
