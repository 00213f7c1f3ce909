// Attention over token trees: each segment's tokens see the segment's prefix wholly and the segment itself causally.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "metarm/model/spec.h"
#include "metarm/model/token_tree.h"

namespace metarm {

// Masks are made once a batch and shared by its layers.
class TreeAttention {
 public:
  TreeAttention(const ModelSpec& spec, std::span<const Segment> segments, bool twice_differentiable);

  // softmax(scale * q k^T) v along each path; queries [N, H, E], keys and values [N, G, E] -> [N, H, E].
  at::Tensor operator()(std::int64_t layer, const at::Tensor& query_NHE, const at::Tensor& key_NGE, const at::Tensor& value_NGE);

 private:
  const at::Tensor& visible(std::int64_t length, std::int64_t prefix_length, std::int64_t window, at::Device device);

  const ModelSpec& spec_;
  std::vector<Segment> segments_;
  bool twice_differentiable_;
  std::map<std::vector<std::int64_t>, at::Tensor> masks_;  // by (length, prefix length, window)
};

// Plain attention of a block of queries over keys: query [H, Q, E], key and value [G, K, E], visible [Q, K] boolean or undefined -> [H, Q, E].
at::Tensor plain_attention(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& visible);

}  // namespace metarm
