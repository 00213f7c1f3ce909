// Tree attention on the CPU, forward and backward, without masks of whole trees or repeated key/value heads. A task is one key/value head
// of one tree; a tree's result does not depend on the batch it is in. Arithmetic is float32 whatever the type of the tensors; probabilities
// are computed again in the backward pass.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "metarm/model/token_tree.h"

namespace metarm {

struct TreeAttentionSpec {
  std::vector<std::vector<Segment>> trees;  // each tree's segments, its prompt first
  double scale;                             // multiplies q.k
  double softcap = 0;                       // 0: none; else c tanh(x / c)
};

// Segments in the order of their tokens to trees.
std::vector<std::vector<Segment>> group_by_tree(const std::vector<Segment>& segments);

// Queries [N, H, E], keys and values [N, G, E], float32 or bfloat16 -> [N, H, E] in the same type. window: how many last positions a token
// sees, itself included; 0: all. Once differentiable. Cost O(H E sum over trees of length times visible length); memory beyond inputs and
// output O(block of queries x visible length) a thread.
at::Tensor tree_attention_cpu(const std::shared_ptr<const TreeAttentionSpec>& spec, std::int64_t window, const at::Tensor& query_NHE,
                              const at::Tensor& key_NGE, const at::Tensor& value_NGE);

}  // namespace metarm
