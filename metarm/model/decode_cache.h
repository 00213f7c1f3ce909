// Keys and values of prompts and of the branches that grow from them, for generation. A prompt's keys and values are kept once for all its
// branches; all branches have the same length, since finished ones leave. No padding: P prompts packed in N tokens, B active branches of t
// tokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "metarm/model/attention.h"

namespace metarm {

class DecodeCache {
 public:
  // `prompts`: the segments of the packed prompts; `branch_prompt`: for each branch the prompt it continues, in ascending order.
  DecodeCache(const ModelSpec& spec, std::vector<Segment> prompts, std::vector<std::int64_t> branch_prompt, std::int64_t max_new_tokens);

  // The attention of the prompts' pass, which fills the cache.
  at::Tensor attend_prompts(std::int64_t layer, const Heads& heads);
  // The attention of one more token a branch: queries [B, H, E], keys and values [B, G, E] -> [B, H, E]. Call advance() after the last
  // layer.
  at::Tensor attend_branches(std::int64_t layer, const Heads& heads);
  void advance() { ++length_; }

  // Keeps only these branches (indices into the present ones, ascending).
  void keep(const std::vector<std::int64_t>& branches);

 private:
  struct Layer {
    at::Tensor prompt_key, prompt_value;  // [G, N, E]
    at::Tensor branch_key, branch_value;  // [B, G, max_new_tokens, E]
  };
  // Unnormalised attention over a part of the keys: outputs scaled by exp(-log_sum).
  struct Part {
    at::Tensor output;   // [B, H, E], float32
    at::Tensor log_sum;  // [B, H]
  };
  Part attend_prompt_part(const Layer& layer, const at::Tensor& query_BHE, std::int64_t window) const;
  Part attend_branch_part(const Layer& layer, const at::Tensor& query_BHE, std::int64_t window) const;
  at::Tensor capped(const at::Tensor& logits) const;

  const ModelSpec& spec_;
  std::vector<Segment> prompts_;
  std::vector<std::int64_t> branch_prompt_;
  std::int64_t max_new_tokens_;
  std::int64_t length_ = 0;  // t before this step's token
  TreeAttention prompt_attention_;
  std::vector<Layer> layers_;
};

}  // namespace metarm
