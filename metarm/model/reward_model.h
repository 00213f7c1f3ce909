// A reward model: a transformer whose `score` head turns the hidden state at one token of a sequence into its reward, and scoring many
// sequences with it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "metarm/model/transformer.h"

namespace metarm {

struct RewardModel {
  Model model;
  Pooling pooling = Pooling::last_not_pad;
  std::optional<std::int64_t> pad_token_id;
};

// Rewards of a batch's rows, float32 [B], with gradients where the weights ask for them.
at::Tensor batch_rewards(const RewardModel& reward_model, const Batch& batch, const ForwardOptions& options);

// Rewards of groups of sequences (a pair, or the k responses to one prompt), without gradients; each group is one token tree, several trees
// one forward pass of up to tokens_per_batch tokens. Same shape as `groups`. Neither the order nor the company of a sequence changes its
// reward beyond rounding. `progress` is called with the number of groups done.
std::vector<std::vector<float>> score_groups(const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups,
                                             std::int64_t tokens_per_batch, const std::function<void(std::int64_t done)>& progress = {});

}  // namespace metarm
