// The transformer that serves every family, over packed tokens. Shapes as in docs/shapes.md: N packed tokens, D width, H heads, G key/value
// heads, E head width, V vocabulary, B rows.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "metarm/model/attention.h"
#include "metarm/model/packed_weights.h"
#include "metarm/model/token_tree.h"
#include "metarm/model/weights.h"

namespace metarm {

// A low-rank update of rows [row_begin, row_end) of one weight: W + scale * B A.
struct LowRankUpdate {
  Slot slot;
  std::int64_t layer;
  std::int64_t row_begin, row_end;
  double scale;
  at::Tensor a;  // [rank, in]
  at::Tensor b;  // [row_end - row_begin, rank]
};

// Everything a forward pass needs. Weights are in the compute type; rewards and losses are float32 all the same.
struct Model {
  ModelSpec spec;
  Weights weights;
  std::vector<LowRankUpdate> updates;  // LoRA adapters, empty without
  std::shared_ptr<const PackedWeights> packed =
      nullptr;  // linear layers and the head, in place of their weights; for generation on the CPU
};

struct ForwardOptions {
  double dropout = 0;                   // share of attention and MLP outputs dropped
  std::uint64_t dropout_seed = 0;       // the masks are a function of it
  bool gradient_checkpointing = false;  // keep only layers' inputs, compute the rest again in the backward pass
  bool twice_differentiable = false;    // use only operations that have second derivatives
};

// The hidden state after the last layer, before the final norm: [N, D], for N tokens and their positions, or [rows, D] of some of them, for
// which the last layer is computed alone. Input error for an id beyond the vocabulary, or a position beyond what learned embeddings reach.
// With gradient checkpointing `model` must outlive the backward pass.
at::Tensor run_layers(const Model& model, const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& positions,
                      const Attention& attention, const ForwardOptions& options, const std::vector<std::int64_t>& rows = {});

// The same for a batch of token trees.
at::Tensor run_batch(const Model& model, const Batch& batch, const ForwardOptions& options, const std::vector<std::int64_t>& rows = {});

at::Tensor final_norm(const Model& model, const at::Tensor& hidden_ND);
// Logits of the language model, float32 [N, V], for hidden states before the final norm.
at::Tensor language_logits(const Model& model, const at::Tensor& hidden_ND);

// Which token of a sequence carries its reward.
enum class Pooling {
  last_not_pad,  // the last one that is not pad_token_id, as transformers' sequence classification
  last,          // the last one, as OpenRLHF, vLLM and SGLang
};
// For each row of the batch, the index of its pooled token in [0, N). pad_token_id absent: the last one.
std::vector<std::int64_t> pooled_tokens(const Batch& batch, Pooling pooling, std::optional<std::int64_t> pad_token_id);

// Rewards, float32 [B], for hidden states before the final norm, [B, D].
at::Tensor head_rewards(const Model& model, const at::Tensor& hidden_BD);
// Rewards, float32 [B], one a row of the batch, in order.
at::Tensor batch_rewards(const Model& model, const Batch& batch, const std::vector<std::int64_t>& pooled, const ForwardOptions& options);

}  // namespace metarm
