#include "metarm/model/transformer.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/attention.h"
#include "metarm/model/recompute.h"

namespace metarm {

namespace {

// Cosines and sines of the rotary angles, [N, 1, rotary / 2] in the compute type, computed in float32.
struct Rotary {
  at::Tensor cosine, sine;
};

at::Tensor rotary_frequencies(const ModelSpec& spec) {
  const std::int64_t half = spec.rotary_width / 2;
  std::vector<float> frequencies(static_cast<std::size_t>(half));
  for (std::int64_t i = 0; i < half; ++i) {
    double frequency = 1.0 / std::pow(spec.rope_theta, 2.0 * static_cast<double>(i) / static_cast<double>(spec.rotary_width));
    frequency /= spec.rope_linear_factor;
    if (spec.rope_scaling) {  // Llama 3: long wavelengths are stretched, short ones kept, a blend between
      const RopeScaling& scaling = *spec.rope_scaling;
      const double wavelength = 2.0 * M_PI / frequency;
      const double turns = static_cast<double>(scaling.original_max_positions) / wavelength;
      const double blend = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
      const double keep = std::clamp(blend, 0.0, 1.0);
      frequency = (1.0 - keep) * frequency / scaling.factor + keep * frequency;
    }
    frequencies[static_cast<std::size_t>(i)] = static_cast<float>(frequency);
  }
  return at::tensor(frequencies);
}

Rotary make_rotary(const ModelSpec& spec, const at::Tensor& position_N, at::ScalarType dtype) {
  const at::Tensor angle = position_N.to(at::kFloat).unsqueeze(1) * rotary_frequencies(spec).to(position_N.device()).unsqueeze(0);
  return {at::cos(angle).to(dtype).unsqueeze(1), at::sin(angle).to(dtype).unsqueeze(1)};
}

// Rotates the first rotary_width components of each head: (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin), halves apart.
at::Tensor rotate(const at::Tensor& x_NHE, const Rotary& rotary, std::int64_t rotary_width) {
  const std::int64_t half = rotary_width / 2;
  const at::Tensor first = x_NHE.slice(2, 0, half), second = x_NHE.slice(2, half, rotary_width);
  std::vector<at::Tensor> parts = {first * rotary.cosine - second * rotary.sine, second * rotary.cosine + first * rotary.sine};
  if (rotary_width < x_NHE.size(2)) parts.push_back(x_NHE.slice(2, rotary_width));
  return at::cat(parts, 2);
}

at::Tensor rms_norm(const ModelSpec& spec, const at::Tensor& x, const at::Tensor& weight) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor unit = wide * at::rsqrt(wide.square().mean(-1, true) + spec.norm_epsilon);
  if (spec.norm_adds_one) return (unit * (weight.to(at::kFloat) + 1.0)).to(x.scalar_type());
  return unit.to(x.scalar_type()) * weight;
}

at::Tensor norm(const ModelSpec& spec, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  if (spec.norm == NormKind::rms) return rms_norm(spec, x, weight);
  return at::layer_norm(x, {spec.width}, weight, bias, spec.norm_epsilon);
}

at::Tensor activate(Activation activation, const at::Tensor& x) {
  switch (activation) {
    case Activation::silu: return at::silu(x);
    case Activation::gelu: return at::gelu(x);
    case Activation::gelu_tanh: return at::gelu(x, "tanh");
  }
  fail_internal("unknown activation");
}

// A forward pass through one layer after another.
class LayerStack {
 public:
  LayerStack(const Model& model, Attention attention, Rotary rotary, const ForwardOptions& options)
      : model_(model), spec_(model.spec), attention_(std::move(attention)), rotary_(std::move(rotary)), options_(options) {}

  at::Tensor layer(std::int64_t index, const at::Tensor& hidden_ND) const {
    const at::Tensor attention_input = normed(hidden_ND, index, Slot::attention_norm_weight, Slot::attention_norm_bias);
    const at::Tensor attended = dropped(attention_block(index, attention_input), index, 0);
    const at::Tensor middle = hidden_ND + attended;
    const at::Tensor& mlp_input = spec_.parallel_residual ? hidden_ND : middle;
    return middle + dropped(mlp_block(index, normed(mlp_input, index, Slot::mlp_norm_weight, Slot::mlp_norm_bias)), index, 1);
  }

 private:
  const at::Tensor& weight(Slot slot, std::int64_t layer) const { return model_.weights.at(slot, layer); }

  at::Tensor normed(const at::Tensor& x, std::int64_t layer, Slot scale, Slot bias) const {
    return norm(spec_, x, weight(scale, layer), weight(bias, layer));
  }

  at::Tensor linear(const at::Tensor& x, std::int64_t layer, Slot slot, Slot bias) const {
    const at::Tensor& offset = weight(bias, layer);
    at::Tensor y = offset.defined() ? at::addmm(offset, x, weight(slot, layer).t()) : at::mm(x, weight(slot, layer).t());
    for (const LowRankUpdate& update : model_.updates)
      if (update.slot == slot && update.layer == layer)
        y.slice(1, update.row_begin, update.row_end).add_(at::mm(at::mm(x, update.a.t()), update.b.t()), update.scale);
    return y;
  }

  at::Tensor attention_block(std::int64_t layer, const at::Tensor& x_ND) const {
    const std::int64_t N = x_ND.size(0), H = spec_.heads, G = spec_.kv_heads, E = spec_.head_width;
    const at::Tensor qkv = linear(x_ND, layer, Slot::qkv_weight, Slot::qkv_bias).view({N, H + 2 * G, E});
    at::Tensor query = qkv.slice(1, 0, H), key = qkv.slice(1, H, H + G);
    if (spec_.query_key_norm) {
      query = rms_norm(spec_, query, weight(Slot::query_norm_weight, layer));
      key = rms_norm(spec_, key, weight(Slot::key_norm_weight, layer));
    }
    if (spec_.positions == PositionKind::rotary) {
      query = rotate(query, rotary_, spec_.rotary_width);
      key = rotate(key, rotary_, spec_.rotary_width);
    }
    const at::Tensor mixed = attention_(layer, query, key, qkv.slice(1, H + G)).reshape({N, H * E});
    const at::Tensor out = linear(mixed, layer, Slot::attention_out_weight, Slot::attention_out_bias);
    if (spec_.norm_place == NormPlace::before) return out;
    return rms_norm(spec_, out, weight(Slot::attention_post_norm_weight, layer));
  }

  at::Tensor mlp_block(std::int64_t layer, const at::Tensor& x_ND) const {
    at::Tensor inner = linear(x_ND, layer, Slot::up_weight, Slot::up_bias);
    if (spec_.mlp == MlpKind::gated)
      inner = activate(spec_.activation, inner.slice(1, 0, spec_.mlp_width)) * inner.slice(1, spec_.mlp_width);
    else
      inner = activate(spec_.activation, inner);
    const at::Tensor out = linear(inner, layer, Slot::down_weight, Slot::down_bias);
    if (spec_.norm_place == NormPlace::before) return out;
    return rms_norm(spec_, out, weight(Slot::mlp_post_norm_weight, layer));
  }

  at::Tensor dropped(const at::Tensor& x, std::int64_t layer, std::int64_t block) const {
    if (options_.dropout <= 0) return x;
    const std::uint64_t seed =
        derive_seed(options_.dropout_seed, "dropout", static_cast<std::uint64_t>(layer), static_cast<std::uint64_t>(block));
    at::Generator generator = at::detail::createCPUGenerator(seed);
    const at::Tensor keep = at::empty(x.sizes(), at::TensorOptions().dtype(at::kFloat)).bernoulli_(1.0 - options_.dropout, generator);
    return x * keep.div_(1.0 - options_.dropout).to(x.options());
  }

  const Model& model_;
  const ModelSpec& spec_;
  const Attention attention_;
  const Rotary rotary_;
  const ForwardOptions options_;
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

}  // namespace

at::Tensor run_layers(const Model& model, const std::vector<std::int64_t>& tokens, const std::vector<std::int64_t>& positions,
                      const Attention& attention, const ForwardOptions& options) {
  check_tokens(model.spec, tokens, positions);
  const at::Device device = model.weights.at(Slot::token_embedding).device();
  const at::Tensor token_N = to_device(tokens, device), position_N = to_device(positions, device);
  at::Tensor hidden = embed(model, token_N, position_N);
  Rotary rotary;
  if (model.spec.positions == PositionKind::rotary) rotary = make_rotary(model.spec, position_N, hidden.scalar_type());
  const auto stack = std::make_shared<const LayerStack>(model, attention, std::move(rotary), options);
  for (std::int64_t i = 0; i < model.spec.layers; ++i) {
    const auto layer = [stack, i](const at::Tensor& input) { return stack->layer(i, input); };
    hidden = options.gradient_checkpointing ? recompute(layer, hidden) : layer(hidden);
  }
  return hidden;
}

at::Tensor run_batch(const Model& model, const Batch& batch, const ForwardOptions& options) {
  return run_layers(model, batch.tokens, batch.positions, TreeAttention(model.spec, batch.segments, options.twice_differentiable), options);
}

at::Tensor final_norm(const Model& model, const at::Tensor& hidden_ND) {
  return norm(model.spec, hidden_ND, model.weights.at(Slot::final_norm_weight), model.weights.at(Slot::final_norm_bias));
}

at::Tensor language_logits(const Model& model, const at::Tensor& hidden_ND) {
  const at::Tensor& head = model.weights.at(model.spec.tied_embeddings ? Slot::token_embedding : Slot::lm_head);
  at::Tensor logits = at::mm(final_norm(model, hidden_ND), head.t()).to(at::kFloat);
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

at::Tensor batch_rewards(const Model& model, const Batch& batch, const std::vector<std::int64_t>& pooled, const ForwardOptions& options) {
  const at::Tensor& score = model.weights.at(Slot::score);
  if (!score.defined()) fail_internal("batch_rewards: expected a reward model, got a model without a reward head");
  const at::Tensor hidden = run_batch(model, batch, options).index_select(0, to_device(pooled, score.device()));
  const at::Tensor reward = at::mm(final_norm(model, hidden).to(at::kFloat), score.to(at::kFloat).t()).squeeze(1);
  const at::Tensor& bias = model.weights.at(Slot::score_bias);
  return bias.defined() ? reward + bias.to(at::kFloat) : reward;
}

}  // namespace metarm
