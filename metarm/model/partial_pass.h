// A forward pass in parts, for reward models whose first layers are the same (model/scorer.h): embed_batch, run_layer_range over all layers
// and head_rewards (model/transformer.h), one after the other, are batch_rewards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "metarm/model/transformer.h"

namespace metarm {

struct LayerRange {
  std::int64_t begin, end;  // [begin, end)
};

// Hidden states before the first layer, [N, D]. Input errors as run_layers.
at::Tensor embed_batch(const Model& model, const Batch& batch);
// After the layers of `range`, of hidden states before them: [N, D], or [rows, D] of some tokens, for which the last of these layers is
// computed alone.
at::Tensor run_layer_range(const Model& model, const Batch& batch, const LayerRange& range, const at::Tensor& hidden_ND,
                           const std::vector<std::int64_t>& rows = {});

}  // namespace metarm
