#include "metarm/model/decode_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

namespace metarm {

namespace {
constexpr float kHidden = -std::numeric_limits<float>::infinity();
}

DecodeCache::DecodeCache(const ModelSpec& spec, std::vector<Segment> prompts, std::vector<std::int64_t> branch_prompt,
                         std::int64_t max_new_tokens)
    : spec_(spec),
      prompts_(std::move(prompts)),
      branch_prompt_(std::move(branch_prompt)),
      max_new_tokens_(max_new_tokens),
      prompt_attention_(spec, prompts_, false),
      layers_(static_cast<std::size_t>(spec.layers)) {}

at::Tensor DecodeCache::attend_prompts(std::int64_t layer, const Heads& heads) {
  Layer& cache = layers_[static_cast<std::size_t>(layer)];
  cache.prompt_key = heads.key_NGE.transpose(0, 1).contiguous();
  cache.prompt_value = heads.value_NGE.transpose(0, 1).contiguous();
  return prompt_attention_(layer, heads);
}

at::Tensor DecodeCache::capped(const at::Tensor& logits) const {
  const at::Tensor scaled = logits.to(at::kFloat).mul_(spec_.attention_scale);
  return spec_.attention_softcap > 0 ? at::tanh(scaled / spec_.attention_softcap) * spec_.attention_softcap : scaled;
}

DecodeCache::Part DecodeCache::attend_prompt_part(const Layer& layer, const at::Tensor& query_BHE, std::int64_t window) const {
  const std::int64_t G = spec_.kv_heads, shared = spec_.heads / G, E = spec_.head_width;
  std::vector<at::Tensor> outputs, log_sums;
  for (std::size_t begin = 0; begin < branch_prompt_.size();) {
    std::size_t end = begin + 1;
    while (end < branch_prompt_.size() && branch_prompt_[end] == branch_prompt_[begin]) ++end;
    const Segment& prompt = prompts_[static_cast<std::size_t>(branch_prompt_[begin])];
    const auto n = static_cast<std::int64_t>(end - begin);
    const std::int64_t newest = prompt.length() + length_;  // position of the queries
    const std::int64_t first = window > 0 ? std::clamp<std::int64_t>(newest - window + 1, 0, prompt.length()) : 0;
    const auto keys = [&](const at::Tensor& x) { return x.slice(1, prompt.begin + first, prompt.end); };
    const at::Tensor query = query_BHE.slice(0, static_cast<std::int64_t>(begin), static_cast<std::int64_t>(end))
                                 .view({n, G, shared, E})
                                 .transpose(0, 1)
                                 .reshape({G, n * shared, E});
    if (first == prompt.length()) {
      outputs.push_back(at::zeros({n, G * shared, E}, query.options().dtype(at::kFloat)));
      log_sums.push_back(at::full({n, G * shared}, kHidden, query.options().dtype(at::kFloat)));
    } else {
      const at::Tensor logits = capped(at::matmul(query, keys(layer.prompt_key).transpose(1, 2)));
      const at::Tensor mixed = at::matmul(at::softmax(logits, -1).to(query.scalar_type()), keys(layer.prompt_value)).to(at::kFloat);
      outputs.push_back(mixed.view({G, n, shared, E}).transpose(0, 1).reshape({n, G * shared, E}));
      log_sums.push_back(at::logsumexp(logits, -1).view({G, n, shared}).transpose(0, 1).reshape({n, G * shared}));
    }
    begin = end;
  }
  return {at::cat(outputs), at::cat(log_sums)};
}

DecodeCache::Part DecodeCache::attend_branch_part(const Layer& layer, const at::Tensor& query_BHE, std::int64_t window) const {
  const std::int64_t B = query_BHE.size(0), G = spec_.kv_heads, shared = spec_.heads / G, E = spec_.head_width, t = length_ + 1;
  const std::int64_t first = window > 0 ? std::max<std::int64_t>(0, t - window) : 0;
  const at::Tensor query = query_BHE.view({B, G, shared, E});
  const at::Tensor logits = capped(at::matmul(query, layer.branch_key.slice(2, first, t).transpose(2, 3)));
  const at::Tensor mixed = at::matmul(at::softmax(logits, -1).to(query.scalar_type()), layer.branch_value.slice(2, first, t));
  return {mixed.to(at::kFloat).reshape({B, G * shared, E}), at::logsumexp(logits, -1).reshape({B, G * shared})};
}

at::Tensor DecodeCache::attend_branches(std::int64_t index, const Heads& heads) {
  const at::Tensor &query = heads.query_NHE, &key = heads.key_NGE, &value = heads.value_NGE;
  Layer& layer = layers_[static_cast<std::size_t>(index)];
  if (!layer.branch_key.defined()) {
    const std::vector<std::int64_t> shape = {query.size(0), spec_.kv_heads, max_new_tokens_, spec_.head_width};
    layer.branch_key = at::empty(shape, key.options());
    layer.branch_value = at::empty(shape, value.options());
  }
  layer.branch_key.select(2, length_).copy_(key);
  layer.branch_value.select(2, length_).copy_(value);
  const std::int64_t window = spec_.layer_window(index);
  const at::Tensor contiguous = query.contiguous();
  const Part prompt = attend_prompt_part(layer, contiguous, window), branch = attend_branch_part(layer, contiguous, window);
  const at::Tensor total = at::logaddexp(prompt.log_sum, branch.log_sum);
  const auto weighted = [&](const Part& part) { return part.output * at::exp(part.log_sum - total).unsqueeze(-1); };
  return (weighted(prompt) + weighted(branch)).to(query.scalar_type());
}

void DecodeCache::keep(const std::vector<std::int64_t>& branches) {
  std::vector<std::int64_t> kept;
  for (std::int64_t branch : branches) kept.push_back(branch_prompt_[static_cast<std::size_t>(branch)]);
  branch_prompt_ = std::move(kept);
  for (Layer& layer : layers_) {
    if (!layer.branch_key.defined()) continue;
    const at::Tensor index = at::tensor(branches, at::kLong).to(layer.branch_key.device());
    layer.branch_key = layer.branch_key.index_select(0, index);
    layer.branch_value = layer.branch_value.index_select(0, index);
  }
}

}  // namespace metarm
