#include "metarm/model/decode_cache.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "metarm/base/round_up.h"
#include "metarm/model/cpu_kernels.h"
#include "metarm/model/tree_attention_cpu.h"

namespace metarm {

namespace {

std::int64_t padded(std::int64_t count) { return round_up(count, kDecodePadding); }

// Runs of branches of one prompt: [begin, end) pairs.
std::vector<std::pair<std::size_t, std::size_t>> prompt_runs(std::span<const GrowingBranch> branches) {
  std::vector<std::pair<std::size_t, std::size_t>> runs;
  for (std::size_t begin = 0, end = 0; begin < branches.size(); begin = end) {
    while (end < branches.size() && branches[end].prompt == branches[begin].prompt) ++end;
    runs.emplace_back(begin, end);
  }
  return runs;
}

}  // namespace

DecodeCache::DecodeCache(const ModelSpec& spec, std::int64_t slots, std::int64_t max_new_tokens, const at::Tensor& like)
    : spec_(spec), options_(like.is_cpu() ? like.options().dtype(at::kFloat) : like.options()) {
  const std::int64_t T = padded(max_new_tokens), E = spec.head_width;
  own_key_ = at::empty({spec.layers, slots, spec.kv_heads, E, T}, options_);
  own_value_ = at::zeros({spec.layers, slots, spec.kv_heads, T, padded(E)}, options_);  // plainly, 0 times what is not seen is to be 0
}

void DecodeCache::add_prompts(std::int64_t first, std::vector<Segment> segments) {
  const std::int64_t G = spec_.kv_heads, E = spec_.head_width;
  first_new_ = first;
  new_segments_ = std::move(segments);
  new_attention_.emplace(spec_, new_segments_, false);
  for (const Segment& segment : new_segments_) {
    const std::int64_t length = segment.length();
    prompts_[first++] = {length, at::empty({spec_.layers, G, E, padded(length)}, options_),
                         at::empty({spec_.layers, G, length, padded(E)}, options_)};
  }
}

void DecodeCache::store_prompts(std::int64_t layer, const at::Tensor& key_NGE, const at::Tensor& value_NGE) {
  for (std::size_t i = 0; i < new_segments_.size(); ++i) {
    const Segment& segment = new_segments_[i];
    const Prompt& prompt = prompts_.at(first_new_ + static_cast<std::int64_t>(i));
    prompt.key.select(0, layer).narrow(2, 0, prompt.length).copy_(key_NGE.slice(0, segment.begin, segment.end).permute({1, 2, 0}));
    prompt.value.select(0, layer).narrow(2, 0, spec_.head_width).copy_(value_NGE.slice(0, segment.begin, segment.end).transpose(0, 1));
  }
}

at::Tensor DecodeCache::attend_prompts(std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary) {
  const std::int64_t H = spec_.heads, G = spec_.kv_heads;
  if (!qkv.is_cpu()) {
    const Heads heads = split_heads(spec_, qkv, rotary);
    store_prompts(layer, heads.key_NGE, heads.value_NGE);
    return (*new_attention_)(layer, heads);
  }
  rotate_heads(qkv, H + G, spec_.rotary_width, rotary, false);
  store_prompts(layer, qkv.slice(1, H, H + G), qkv.slice(1, H + G));
  return (*new_attention_)(layer, qkv, {});
}

template <class Element>
void DecodeCache::run_kernels(std::int64_t layer, std::span<const GrowingBranch> branches, const at::Tensor& qkv, at::Tensor& out) {
  const std::int64_t H = spec_.heads, G = spec_.kv_heads, E = spec_.head_width, shared = H / G, row = (H + 2 * G) * E;
  const auto runs = prompt_runs(branches);
  const at::Tensor own_key = own_key_.select(0, layer), own_value = own_value_.select(0, layer);
  const auto* from = static_cast<const Element*>(qkv.const_data_ptr());
  auto* to = static_cast<Element*>(out.mutable_data_ptr());
  at::parallel_for(0, static_cast<std::int64_t>(runs.size()) * G, 1, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task) {
      const auto [begin, end] = runs[static_cast<std::size_t>(task / G)];
      const std::int64_t g = task % G, row_begin = static_cast<std::int64_t>(begin);
      const Prompt& prompt = prompts_.at(branches[begin].prompt);
      std::vector<DecodeBranch> of_run;
      for (const GrowingBranch& branch : branches.subspan(begin, end - begin))
        of_run.push_back({own_key.mutable_data_ptr<float>() + branch.slot * own_key.stride(0) + g * own_key.stride(1),
                          own_value.mutable_data_ptr<float>() + branch.slot * own_value.stride(0) + g * own_value.stride(1),
                          branch.length + 1});
      cpu_kernels_of<Element>().attention_of_branches(
          {.branches = of_run.data(),
           .branch_count = static_cast<std::int64_t>(of_run.size()),
           .prompt_tokens = prompt.length,
           .prompt_key = prompt.key.const_data_ptr<float>() + layer * prompt.key.stride(0) + g * prompt.key.stride(1),
           .prompt_value = prompt.value.const_data_ptr<float>() + layer * prompt.value.stride(0) + g * prompt.value.stride(1),
           .prompt_stride = prompt.key.size(3),
           .own_stride = own_key.size(3),
           .value_stride = own_value.size(3),
           .width = E,
           .shared = shared,
           .row_stride = row,
           .query_offset = g * shared * E,
           .key_offset = (H + g) * E,
           .value_offset = (H + G + g) * E,
           .out_stride = H * E,
           .out_offset = g * shared * E,
           .scale = static_cast<float>(spec_.attention_scale),
           .softcap = static_cast<float>(spec_.attention_softcap),
           .window = spec_.layer_window(layer)},
          from + row_begin * row, to + row_begin * H * E);
    }
  });
}

at::Tensor DecodeCache::attend_branches(std::int64_t layer, std::span<const GrowingBranch> branches, const at::Tensor& qkv,
                                        const Rotary& rotary) {
  if (!qkv.is_cpu()) return attend_branches_plainly(layer, branches, split_heads(spec_, qkv, rotary));
  const at::Tensor rows = qkv.contiguous();
  rotate_heads(rows, spec_.heads + spec_.kv_heads, spec_.rotary_width, rotary, false);
  at::Tensor out = at::empty({rows.size(0), spec_.heads, spec_.head_width}, rows.options());
  if (rows.scalar_type() == at::kFloat)
    run_kernels<float>(layer, branches, rows, out);
  else
    run_kernels<Bfloat16Bits>(layer, branches, rows, out);
  return out;
}

// query [.., Q, E], key [.., E, K], value [.., K, E], visible [.., Q or 1, K] -> outputs [.., Q, E] and log-sums [.., Q].
DecodeCache::Part DecodeCache::attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                                      const at::Tensor& visible) const {
  const at::Tensor logits =
      attention_logits(spec_, query.to(key.scalar_type()), key).masked_fill(visible.logical_not(), -std::numeric_limits<float>::infinity());
  const at::Tensor shares = at::softmax(logits, -1).nan_to_num(0);  // a window may hide a whole prompt
  return {at::matmul(shares.to(value.scalar_type()), value).to(at::kFloat), at::logsumexp(logits, -1)};
}

DecodeCache::Part DecodeCache::attend_prompt_part(std::int64_t layer, std::span<const GrowingBranch> branches,
                                                  const at::Tensor& query_BHE) const {
  const std::int64_t G = spec_.kv_heads, shared = spec_.heads / G, E = spec_.head_width, window = spec_.layer_window(layer);
  std::vector<at::Tensor> outputs, log_sums;
  for (const auto& [begin, end] : prompt_runs(branches)) {
    const Prompt& prompt = prompts_.at(branches[begin].prompt);
    const auto n = static_cast<std::int64_t>(end - begin);
    const at::Tensor query = query_BHE.narrow(0, static_cast<std::int64_t>(begin), n).view({n, G, shared, E}).transpose(0, 1);
    std::vector<std::int64_t> first_seen;  // of a branch: from where on the window lets it see
    for (const GrowingBranch& branch : branches.subspan(begin, end - begin))
      first_seen.push_back(window > 0 ? prompt.length + branch.length - window + 1 : 0);
    const at::Tensor place = at::arange(prompt.length, at::TensorOptions().dtype(at::kLong).device(query.device()));
    const at::Tensor visible = place.unsqueeze(0).ge(at::tensor(first_seen, at::kLong).to(query.device()).unsqueeze(1));
    const Part part = attend(query.reshape({G, n * shared, E}), prompt.key.select(0, layer).narrow(2, 0, prompt.length),
                             prompt.value.select(0, layer).narrow(2, 0, E), visible.repeat_interleave(shared, 0).unsqueeze(0));
    outputs.push_back(part.output.view({G, n, shared, E}).transpose(0, 1).reshape({n, G * shared, E}));
    log_sums.push_back(part.log_sum.view({G, n, shared}).transpose(0, 1).reshape({n, G * shared}));
  }
  return {at::cat(outputs), at::cat(log_sums)};
}

DecodeCache::Part DecodeCache::attend_own_part(std::int64_t layer, const at::Tensor& slot_B, const at::Tensor& place_B,
                                               std::int64_t longest, const at::Tensor& query_BHE) const {
  const std::int64_t B = query_BHE.size(0), G = spec_.kv_heads, shared = spec_.heads / G, E = spec_.head_width;
  const std::int64_t window = spec_.layer_window(layer);
  const at::Tensor key_place = at::arange(longest, place_B.options()).unsqueeze(0), newest = place_B.unsqueeze(1);
  at::Tensor visible = key_place.le(newest);
  if (window > 0) visible = visible.logical_and(key_place.gt(newest - window));
  const Part part =
      attend(query_BHE.view({B, G, shared, E}), own_key_.select(0, layer).narrow(3, 0, longest).index_select(0, slot_B),
             own_value_.select(0, layer).narrow(2, 0, longest).narrow(3, 0, E).index_select(0, slot_B), visible.view({B, 1, 1, longest}));
  return {part.output.reshape({B, G * shared, E}), part.log_sum.reshape({B, G * shared})};
}

at::Tensor DecodeCache::attend_branches_plainly(std::int64_t layer, std::span<const GrowingBranch> branches, const Heads& heads) {
  std::vector<std::int64_t> slots, places;
  for (const GrowingBranch& branch : branches) slots.push_back(branch.slot), places.push_back(branch.length);
  const at::Device device = heads.query_NHE.device();
  const at::Tensor slot = at::tensor(slots, at::kLong).to(device), place = at::tensor(places, at::kLong).to(device);
  own_key_.select(0, layer).permute({0, 3, 1, 2}).index_put_({slot, place}, heads.key_NGE.to(own_key_.scalar_type()));
  own_value_.select(0, layer)
      .narrow(3, 0, spec_.head_width)
      .transpose(1, 2)
      .index_put_({slot, place}, heads.value_NGE.to(own_value_.scalar_type()));
  const at::Tensor query = heads.query_NHE.contiguous();
  const Part prompt = attend_prompt_part(layer, branches, query),
             own = attend_own_part(layer, slot, place, *std::ranges::max_element(places) + 1, query);
  const at::Tensor total = at::logaddexp(prompt.log_sum, own.log_sum);
  const auto weighted = [&](const Part& part) { return part.output * at::exp(part.log_sum - total).unsqueeze(-1); };
  return (weighted(prompt) + weighted(own)).to(query.scalar_type());
}

}  // namespace metarm
