#include "metarm/model/transformer.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/distinct_rows.h"
#include "metarm/model/dropout.h"
#include "metarm/model/fused_linear.h"
#include "metarm/model/matrix_product.h"
#include "metarm/model/partial_pass.h"
#include "metarm/model/recompute.h"

namespace metarm {

namespace {

// A forward pass through one layer after another.
class LayerStack {
 public:
  // token_keys: of all tokens, for dropout.
  LayerStack(const Model& model, Attention attention, Rotary rotary, const ForwardOptions& options, std::vector<std::uint64_t> token_keys)
      : model_(model),
        spec_(model.spec),
        attention_(std::move(attention)),
        rotary_(std::move(rotary)),
        options_(options),
        token_keys_(std::move(token_keys)) {}

  // All tokens attend and are attended to; the result is of those at `rows`, or of all where it is undefined.
  at::Tensor layer(std::int64_t index, const at::Tensor& hidden_ND, const at::Tensor& rows) const {
    const at::Tensor mixed = taken(attention_mix(index, hidden_ND), rows), hidden = taken(hidden_ND, rows);
    const at::Tensor middle = hidden + dropped(attention_out(index, mixed), rows, index, 0);
    return middle + dropped(mlp_block(index, spec_.parallel_residual ? hidden : middle), rows, index, 1);
  }

 private:
  const at::Tensor& weight(Slot slot, std::int64_t layer) const { return model_.weights.at(slot, layer); }
  InputTransform norm(std::int64_t layer, Slot scale, Slot shift) const {
    return norm_transform(spec_, weight(scale, layer), weight(shift, layer));
  }
  InputTransform rms(std::int64_t layer, Slot scale) const { return rms_transform(spec_, weight(scale, layer)); }

  // On the CPU by fused kernels, where one derivative is enough.
  bool fused(const at::Tensor& x) const { return x.is_cpu() && !options_.twice_differentiable; }
  at::Tensor transformed(const InputTransform& transform, const at::Tensor& x) const {
    return fused(x) ? fused_transform(transform, x) : transform_plainly(transform, x);
  }

  at::Tensor times_weight(const at::Tensor& x, std::int64_t layer, Slot slot, const at::Tensor& offset) const {
    if (model_.packed) {
      const at::Tensor y = model_.packed->at(slot, layer).product(x, x.scalar_type());
      return offset.defined() ? y + offset : y;
    }
    if (fused(x)) return fused_linear({}, x, weight(slot, layer), offset);
    return offset.defined() ? at::addmm(offset, x, weight(slot, layer).t()) : at::mm(x, weight(slot, layer).t());
  }

  at::Tensor linear(const InputTransform& transform, const at::Tensor& x, std::int64_t layer, Slot slot, Slot bias) const {
    const at::Tensor& offset = weight(bias, layer);
    std::vector<const LowRankUpdate*> updates;
    for (const LowRankUpdate& update : model_.updates)
      if (update.slot == slot && update.layer == layer) updates.push_back(&update);
    if (fused(x) && updates.empty() && !model_.packed) return fused_linear(transform, x, weight(slot, layer), offset);
    const at::Tensor input = transformed(transform, x);
    const at::Tensor y = times_weight(input, layer, slot, offset);
    if (!updates.empty()) add_updates(y, input, updates);
    return y;
  }

  // The updates of one weight read the same input: one product with all their A, which are narrow.
  static void add_updates(const at::Tensor& y, const at::Tensor& input, const std::vector<const LowRankUpdate*>& updates) {
    std::vector<at::Tensor> downs;
    for (const LowRankUpdate* update : updates) downs.push_back(update->a);
    const at::Tensor down = at::mm(input, at::cat(downs).t());
    std::int64_t begin = 0;
    for (const LowRankUpdate* update : updates) {
      const std::int64_t end = begin + update->a.size(0);
      y.slice(1, update->row_begin, update->row_end).addmm_(down.slice(1, begin, end), update->b.t(), 1, update->scale);
      begin = end;
    }
  }

  static at::Tensor taken(const at::Tensor& x, const at::Tensor& rows) { return rows.defined() ? x.index_select(0, rows) : x; }

  at::Tensor attention_mix(std::int64_t layer, const at::Tensor& x_ND) const {
    const std::int64_t N = x_ND.size(0), H = spec_.heads, G = spec_.kv_heads, E = spec_.head_width;
    const InputTransform norm_before = norm(layer, Slot::attention_norm_weight, Slot::attention_norm_bias);
    at::Tensor qkv = linear(norm_before, x_ND, layer, Slot::qkv_weight, Slot::qkv_bias).view({N, H + 2 * G, E});
    if (spec_.query_key_norm) {
      const auto normed = [&](std::int64_t begin, std::int64_t count, Slot scale) {
        return transformed(rms(layer, scale), qkv.slice(1, begin, begin + count).reshape({N * count, E})).view({N, count, E});
      };
      qkv = at::cat({normed(0, H, Slot::query_norm_weight), normed(H, G, Slot::key_norm_weight), qkv.slice(1, H + G)}, 1);
    }
    return attention_(layer, qkv, rotary_).reshape({N, H * E});
  }

  at::Tensor attention_out(std::int64_t layer, const at::Tensor& mixed) const {
    const at::Tensor out = linear({}, mixed, layer, Slot::attention_out_weight, Slot::attention_out_bias);
    return spec_.norm_place == NormPlace::before ? out : transformed(rms(layer, Slot::attention_post_norm_weight), out);
  }

  at::Tensor mlp_block(std::int64_t layer, const at::Tensor& x_ND) const {
    const at::Tensor inner = linear(norm(layer, Slot::mlp_norm_weight, Slot::mlp_norm_bias), x_ND, layer, Slot::up_weight, Slot::up_bias);
    const at::Tensor out = linear(activation_transform(spec_), inner, layer, Slot::down_weight, Slot::down_bias);
    return spec_.norm_place == NormPlace::before ? out : transformed(rms(layer, Slot::mlp_post_norm_weight), out);
  }

  at::Tensor dropped(const at::Tensor& x, const at::Tensor& rows, std::int64_t layer, std::int64_t block) const {
    if (options_.dropout <= 0) return x;
    const std::uint64_t seed =
        derive_seed(options_.dropout_seed, "dropout", static_cast<std::uint64_t>(layer), static_cast<std::uint64_t>(block));
    if (token_keys_.empty()) fail_internal("dropout: expected a batch of token trees");
    std::vector<std::uint64_t> keys = token_keys_;
    if (rows.defined()) {
      const at::Tensor on_cpu = rows.cpu();
      keys.clear();
      for (std::int64_t i = 0; i < on_cpu.numel(); ++i)
        keys.push_back(token_keys_[static_cast<std::size_t>(on_cpu.data_ptr<std::int64_t>()[i])]);
    }
    return x * dropout_mask(keys, x.size(1), options_.dropout, seed).to(x.options());
  }

  const Model& model_;
  const ModelSpec& spec_;
  const Attention attention_;
  const Rotary rotary_;
  const ForwardOptions options_;
  const std::vector<std::uint64_t> token_keys_;
};

at::Tensor embed(const Model& model, const at::Tensor& token_N, const at::Tensor& position_N) {
  at::Tensor hidden = at::embedding(model.weights.at(Slot::token_embedding), token_N);
  if (model.spec.embedding_scale != 1.0)  // rounded to the compute type first, as transformers does
    hidden = hidden * at::scalar_tensor(model.spec.embedding_scale, hidden.options());
  if (model.spec.positions == PositionKind::learned)
    hidden = hidden + at::embedding(model.weights.at(Slot::position_embedding), position_N);
  return hidden;
}

// A tokenizer that knows more tokens than the checkpoint has embeddings, or a text longer than learned positions reach.
void check_tokens(const ModelSpec& spec, const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& positions) {
  for (const std::int64_t token : tokens)
    if (token < 0 || token >= spec.vocab_size)
      fail_input("tokens: expected token ids below {}, got {}; tokenizer and checkpoint do not belong together", spec.vocab_size, token);
  if (spec.positions != PositionKind::learned) return;
  for (const std::int64_t position : positions)
    if (position >= spec.max_positions)
      fail_input(
          "tokens: expected sequences of up to {} tokens, which the model has positions for; lower --max-length or --max-prompt-length",
          spec.max_positions);
}

at::Tensor to_device(const std::vector<std::int64_t>& values, at::Device device) { return at::tensor(values, at::kLong).to(device); }

at::Device device_of(const Model& model) { return model.weights.at(Slot::token_embedding).device(); }

at::Tensor embed(const Model& model, const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& positions) {
  check_tokens(model.spec, tokens, positions);
  return embed(model, to_device(tokens, device_of(model)), to_device(positions, device_of(model)));
}

// The layers of `range`, the last of them for the tokens at `rows` alone, or for all where there are none.
at::Tensor run_range(const Model& model, const LayerRange& range, at::Tensor hidden, const std::vector<std::int64_t>& positions,
                     const Attention& attention, const ForwardOptions& options, const std::vector<std::int64_t>& rows,
                     std::vector<std::uint64_t> token_keys = {}) {
  const at::Device device = device_of(model);
  const auto stack = std::make_shared<const LayerStack>(model, attention, make_rotary(model.spec, to_device(positions, device)), options,
                                                        std::move(token_keys));
  const at::Tensor wanted = rows.empty() ? at::Tensor() : to_device(rows, device);
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const bool last = i + 1 == range.end;
    const auto layer = [stack, i, of = last ? wanted : at::Tensor()](const at::Tensor& input) { return stack->layer(i, input, of); };
    hidden = options.gradient_checkpointing ? recompute(layer, hidden) : layer(hidden);
  }
  return hidden;
}

}  // namespace

at::Tensor run_layers(const Model& model, const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& positions,
                      const Attention& attention, const ForwardOptions& options, const std::vector<std::int64_t>& rows) {
  return run_range(model, {0, model.spec.layers}, embed(model, tokens, positions), positions, attention, options, rows);
}

at::Tensor embed_batch(const Model& model, const Batch& batch) { return embed(model, batch.tokens, batch.positions); }

at::Tensor run_layer_range(const Model& model, const Batch& batch, const LayerRange& range, const at::Tensor& hidden_ND,
                           const std::vector<std::int64_t>& rows) {
  return run_range(model, range, hidden_ND, batch.positions, TreeAttention(model.spec, batch.segments, false), {}, rows);
}

at::Tensor run_batch(const Model& model, const Batch& batch, const ForwardOptions& options, const std::vector<std::int64_t>& rows) {
  std::vector<std::uint64_t> keys = options.dropout > 0 ? path_keys(batch) : std::vector<std::uint64_t>();
  return run_range(model, {0, model.spec.layers}, embed_batch(model, batch), batch.positions,
                   TreeAttention(model.spec, batch.segments, options.twice_differentiable), options, rows, std::move(keys));
}

at::Tensor final_norm(const Model& model, const at::Tensor& hidden_ND) {
  const Weights& weights = model.weights;
  return transform_plainly(norm_transform(model.spec, weights.at(Slot::final_norm_weight), weights.at(Slot::final_norm_bias)), hidden_ND);
}

at::Tensor language_logits(const Model& model, const at::Tensor& hidden_ND) {
  const at::Tensor normed = final_norm(model, hidden_ND);
  const at::Tensor& head = model.weights.at(model.spec.tied_embeddings ? Slot::token_embedding : Slot::lm_head);
  at::Tensor logits = model.packed ? model.packed->at(Slot::lm_head).product(normed, at::kFloat) : product(normed, head.t(), at::kFloat);
  if (model.spec.logit_softcap > 0) logits = at::tanh(logits / model.spec.logit_softcap) * model.spec.logit_softcap;
  return logits;
}

std::vector<std::int64_t> pooled_tokens(const Batch& batch, Pooling pooling, std::optional<std::int64_t> pad_token_id) {
  std::vector<std::int64_t> pooled;
  pooled.reserve(batch.row_segment.size());
  for (std::int64_t row_segment : batch.row_segment) {
    const Segment& segment = batch.segments[static_cast<std::size_t>(row_segment)];
    std::int64_t index = segment.end - 1;
    if (pooling == Pooling::last_not_pad && pad_token_id) {
      const std::int64_t first = segment.prefix_length() > 0 ? segment.prefix_begin : segment.begin;
      while (batch.tokens[static_cast<std::size_t>(index)] == *pad_token_id && index != first)
        index = index == segment.begin ? segment.prefix_end - 1 : index - 1;
    }
    pooled.push_back(index);
  }
  return pooled;
}

at::Tensor head_rewards(const Model& model, const at::Tensor& hidden_BD) {
  const at::Tensor& score = model.weights.at(Slot::score);
  if (!score.defined()) fail_internal("head_rewards: expected a reward model, got a model without a reward head");
  const at::Tensor reward = at::mm(final_norm(model, hidden_BD).to(at::kFloat), score.to(at::kFloat).t()).squeeze(1);
  const at::Tensor& bias = model.weights.at(Slot::score_bias);
  return bias.defined() ? reward + bias.to(at::kFloat) : reward;
}

at::Tensor batch_rewards(const Model& model, const Batch& batch, const std::vector<std::int64_t>& pooled, const ForwardOptions& options) {
  const DistinctRows distinct(pooled);
  return distinct.spread(head_rewards(model, run_batch(model, batch, options, distinct.rows())));
}

}  // namespace metarm
