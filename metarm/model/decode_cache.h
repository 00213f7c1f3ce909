// Keys and values of prompts and of the branches that grow from them, for generation. A prompt's are kept once for all its branches; a
// branch has a slot of its own, which the next one takes when it ends. No padding: branches of any lengths read one more token together.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "metarm/model/attention.h"

namespace metarm {

// A branch that reads one more token: the prompt it continues, and how many tokens it has read before.
struct GrowingBranch {
  std::int64_t prompt;  // as numbered by add_prompts
  std::int64_t slot;    // below `slots`
  std::int64_t length;
};

class DecodeCache {
 public:
  // Room for `slots` branches of up to `max_new_tokens`.
  DecodeCache(const ModelSpec& spec, std::int64_t slots, std::int64_t max_new_tokens, const at::Tensor& like);

  // Takes prompts in, numbered from `first` on, whose segments of a batch these are; attend_prompts, for each layer once, fills the cache.
  void add_prompts(std::int64_t first, std::vector<Segment> segments);
  at::Tensor attend_prompts(std::int64_t layer, const at::Tensor& qkv, const Rotary& rotary);
  void drop_prompt(std::int64_t prompt) { prompts_.erase(prompt); }

  // The attention of one more token a branch: qkv [B, H + 2 G, E] as in attention.h -> [B, H, E]. Branches of one prompt follow one
  // another.
  at::Tensor attend_branches(std::int64_t layer, std::span<const GrowingBranch> branches, const at::Tensor& qkv, const Rotary& rotary);
  // The same by torch's operations: on any device.
  at::Tensor attend_branches_plainly(std::int64_t layer, std::span<const GrowingBranch> branches, const Heads& heads);

 private:
  // Keys turned, values by rows, of all layers; lengths and widths are rounded up to what kernels want. Float32 on the CPU, else in the
  // compute type.
  struct Prompt {
    std::int64_t length;
    at::Tensor key;    // [layers, G, E, length]
    at::Tensor value;  // [layers, G, length, E]
  };
  // Unnormalised attention over a part of the keys: outputs scaled by exp(-log_sum).
  struct Part {
    at::Tensor output;   // [B, H, E], float32
    at::Tensor log_sum;  // [B, H]
  };
  void store_prompts(std::int64_t layer, const at::Tensor& key_NGE, const at::Tensor& value_NGE);
  Part attend_prompt_part(std::int64_t layer, std::span<const GrowingBranch> branches, const at::Tensor& query_BHE) const;
  Part attend_own_part(std::int64_t layer, const at::Tensor& slot_B, const at::Tensor& place_B, std::int64_t longest,
                       const at::Tensor& query_BHE) const;
  Part attend(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& visible) const;
  template <class Element>
  void run_kernels(std::int64_t layer, std::span<const GrowingBranch> branches, const at::Tensor& qkv, at::Tensor& out);

  const ModelSpec& spec_;
  at::TensorOptions options_;
  at::Tensor own_key_;    // [layers, slots, G, E, max_new_tokens]
  at::Tensor own_value_;  // [layers, slots, G, max_new_tokens, E]
  std::map<std::int64_t, Prompt> prompts_;
  std::int64_t first_new_ = 0;
  std::vector<Segment> new_segments_;
  std::optional<TreeAttention> new_attention_;  // of the prompts that come in, for all layers
};

}  // namespace metarm
