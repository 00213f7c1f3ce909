// Attention over token trees: each segment's tokens see the segment's prefix wholly and the segment itself causally.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "metarm/model/spec.h"
#include "metarm/model/token_tree.h"
#include "metarm/model/tree_attention_cpu.h"

namespace metarm {

// On the CPU by tree_attention_cpu.h; on a GPU by torch's fused attention, a segment at a time; where second derivatives or a soft cap on a
// GPU are asked for, plainly. Masks are made once a batch and shared by its layers.
class TreeAttention {
 public:
  TreeAttention(const ModelSpec& spec, std::span<const Segment> segments, bool twice_differentiable);

  // softmax(scale * q k^T) v along each path; queries [N, H, E], keys and values [N, G, E] -> [N, H, E].
  at::Tensor operator()(std::int64_t layer, const at::Tensor& query_NHE, const at::Tensor& key_NGE, const at::Tensor& value_NGE);

 private:
  const at::Tensor& visible(std::int64_t length, std::int64_t prefix_length, std::int64_t window, at::Device device);

  at::Tensor attend_segment(const Segment& segment, std::int64_t window, const at::Tensor& query_NHE, const at::Tensor& key_NGE,
                            const at::Tensor& value_NGE);

  const ModelSpec& spec_;
  std::vector<Segment> segments_;
  bool twice_differentiable_;
  std::shared_ptr<const TreeAttentionSpec> cpu_spec_;
  std::map<std::vector<std::int64_t>, at::Tensor> masks_;  // by (length, prefix length, window)
};

// Plain attention of a block of queries over keys: query [H, Q, E], key and value [G, K, E], visible [Q, K] boolean or undefined -> [H, Q,
// E].
at::Tensor plain_attention(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& visible);

}  // namespace metarm
