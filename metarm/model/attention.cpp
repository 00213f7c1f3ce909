#include "metarm/model/attention.h"

#include <ATen/ATen.h>

#include <limits>

namespace metarm {

TreeAttention::TreeAttention(const ModelSpec& spec, std::span<const Segment> segments, bool twice_differentiable)
    : spec_(spec), segments_(segments.begin(), segments.end()), twice_differentiable_(twice_differentiable) {
  if (!twice_differentiable)
    cpu_spec_ =
        std::make_shared<TreeAttentionSpec>(TreeAttentionSpec{group_by_tree(segments_), spec.attention_scale, spec.attention_softcap});
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

at::Tensor plain_attention(const ModelSpec& spec, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& visible) {
  const std::int64_t G = key.size(0), Q = query.size(1), E = query.size(2), shared = query.size(0) / G;
  const at::Tensor query_grouped = query.reshape({G, shared * Q, E});  // heads that share a key sit next to each other
  at::Tensor logits = at::matmul(query_grouped, key.transpose(1, 2)).to(at::kFloat).mul(spec.attention_scale);
  if (spec.attention_softcap > 0) logits = at::tanh(logits / spec.attention_softcap) * spec.attention_softcap;
  if (visible.defined()) {
    logits = logits.view({G, shared, Q, -1}).masked_fill(visible.logical_not(), -std::numeric_limits<float>::infinity());
    logits = logits.view({G, shared * Q, -1});
  }
  return at::matmul(at::softmax(logits, -1).to(value.scalar_type()), value).view({query.size(0), Q, E});
}

at::Tensor TreeAttention::attend_segment(const Segment& segment, std::int64_t window, const at::Tensor& query_NHE,
                                         const at::Tensor& key_NGE, const at::Tensor& value_NGE) {
  const auto with_prefix = [&](const at::Tensor& x) {
    const at::Tensor own = x.slice(0, segment.begin, segment.end);
    if (segment.prefix_length() == 0) return own.transpose(0, 1);
    return at::cat({x.slice(0, segment.prefix_begin, segment.prefix_end), own}).transpose(0, 1);
  };
  const at::Tensor query = query_NHE.slice(0, segment.begin, segment.end).transpose(0, 1);
  const at::Tensor key = with_prefix(key_NGE), value = with_prefix(value_NGE);
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

at::Tensor TreeAttention::operator()(std::int64_t layer, const at::Tensor& query_NHE, const at::Tensor& key_NGE,
                                     const at::Tensor& value_NGE) {
  const std::int64_t window = spec_.layer_window(layer);
  if (cpu_spec_ && query_NHE.is_cpu()) return tree_attention_cpu(cpu_spec_, window, query_NHE, key_NGE, value_NGE);
  std::vector<at::Tensor> outputs;
  outputs.reserve(segments_.size());
  for (const Segment& segment : segments_) outputs.push_back(attend_segment(segment, window, query_NHE, key_NGE, value_NGE));
  return at::cat(outputs);
}

}  // namespace metarm
