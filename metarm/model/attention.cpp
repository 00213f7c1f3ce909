#include "metarm/model/attention.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace metarm {

namespace {

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

// (x1, x2) -> (x1 cos - x2 sin, x2 cos + x1 sin) of the first rotary_width components of each head, halves apart.
at::Tensor rotate(const at::Tensor& x_NHE, const Rotary& rotary, std::int64_t rotary_width) {
  const std::int64_t half = rotary_width / 2;
  const at::Tensor first = x_NHE.slice(2, 0, half), second = x_NHE.slice(2, half, rotary_width);
  const at::Tensor cosine = rotary.cosine.unsqueeze(1), sine = rotary.sine.unsqueeze(1);
  std::vector<at::Tensor> parts = {first * cosine - second * sine, second * cosine + first * sine};
  if (rotary_width < x_NHE.size(2)) parts.push_back(x_NHE.slice(2, rotary_width));
  return at::cat(parts, 2).to(x_NHE.scalar_type());
}

}  // namespace

Rotary make_rotary(const ModelSpec& spec, const at::Tensor& position_N) {
  if (spec.positions != PositionKind::rotary) return {};
  const at::Tensor angle = position_N.to(at::kFloat).unsqueeze(1) * rotary_frequencies(spec).to(position_N.device()).unsqueeze(0);
  return {at::cos(angle), at::sin(angle)};
}

Heads split_heads(const ModelSpec& spec, const at::Tensor& qkv, const Rotary& rotary) {
  const std::int64_t H = spec.heads, G = spec.kv_heads;
  Heads heads{qkv.slice(1, 0, H), qkv.slice(1, H, H + G), qkv.slice(1, H + G)};
  if (rotary.cosine.defined()) {
    heads.query_NHE = rotate(heads.query_NHE, rotary, spec.rotary_width);
    heads.key_NGE = rotate(heads.key_NGE, rotary, spec.rotary_width);
  }
  return heads;
}

TreeAttention::TreeAttention(const ModelSpec& spec, std::span<const Segment> segments, bool twice_differentiable)
    : spec_(spec), segments_(segments.begin(), segments.end()), twice_differentiable_(twice_differentiable) {
  if (!twice_differentiable) cpu_spec_ = std::make_shared<TreeAttentionSpec>(make_tree_attention_spec(spec, segments_));
}

const at::Tensor& TreeAttention::visible(std::int64_t length, std::int64_t prefix_length, std::int64_t window, at::Device device) {
  at::Tensor& mask = masks_[{length, prefix_length, window}];
  if (!mask.defined()) {
    const auto options = at::TensorOptions().dtype(at::kLong).device(device);
    const at::Tensor back =
        at::arange(prefix_length, prefix_length + length, options).unsqueeze(1) - at::arange(prefix_length + length, options).unsqueeze(0);
    mask = back.ge(0);
    if (window > 0) mask = mask.logical_and(back.lt(window));
  }
  return mask;
}

at::Tensor attention_logits(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key_turned) {
  const at::Tensor logits = at::matmul(query, key_turned).to(at::kFloat).mul(spec.attention_scale);
  return spec.attention_softcap > 0 ? at::tanh(logits / spec.attention_softcap) * spec.attention_softcap : logits;
}

at::Tensor plain_attention(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& visible) {
  const std::int64_t G = key.size(0), Q = query.size(1), E = query.size(2), shared = query.size(0) / G;
  const at::Tensor query_grouped = query.reshape({G, shared * Q, E});  // heads that share a key sit next to each other
  at::Tensor logits = attention_logits(spec, query_grouped, key.transpose(1, 2));
  if (visible.defined()) {
    logits = logits.view({G, shared, Q, -1}).masked_fill(visible.logical_not(), -std::numeric_limits<float>::infinity());
    logits = logits.view({G, shared * Q, -1});
  }
  return at::matmul(at::softmax(logits, -1).to(value.scalar_type()), value).view({query.size(0), Q, E});
}

at::Tensor TreeAttention::attend_segment(const Segment& segment, std::int64_t window, const Heads& heads) {
  const auto with_prefix = [&](const at::Tensor& x) {
    const at::Tensor own = x.slice(0, segment.begin, segment.end);
    if (segment.prefix_length() == 0) return own.transpose(0, 1);
    return at::cat({x.slice(0, segment.prefix_begin, segment.prefix_end), own}).transpose(0, 1);
  };
  const at::Tensor query = heads.query_NHE.slice(0, segment.begin, segment.end).transpose(0, 1);
  const at::Tensor key = with_prefix(heads.key_NGE), value = with_prefix(heads.value_NGE);
  if (twice_differentiable_ || spec_.attention_softcap > 0)
    return plain_attention(spec_, query, key, value, visible(segment.length(), segment.prefix_length(), window, query.device()))
        .transpose(0, 1);
  const bool causal = segment.prefix_length() == 0 && (window == 0 || window >= segment.length());
  std::optional<at::Tensor> mask;
  if (!causal) mask = visible(segment.length(), segment.prefix_length(), window, query.device());
  return at::scaled_dot_product_attention(query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), mask, 0.0, causal,
                                          spec_.attention_scale, spec_.heads != spec_.kv_heads)
      .squeeze(0)
      .transpose(0, 1);
}

at::Tensor TreeAttention::operator()(std::int64_t layer, const Heads& heads) {
  const std::int64_t window = spec_.layer_window(layer);
  std::vector<at::Tensor> outputs;
  outputs.reserve(segments_.size());
  for (const Segment& segment : segments_) outputs.push_back(attend_segment(segment, window, heads));
  return at::cat(outputs);
}

at::Tensor TreeAttention::operator()(std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary) {
  if (cpu_spec_ && qkv.is_cpu()) return tree_attention_cpu(cpu_spec_, spec_.layer_window(layer), qkv, rotary);
  return (*this)(layer, split_heads(spec_, qkv, rotary));
}

}  // namespace metarm
