// What the reward head reads: the hidden state, after the final norm, at the token that carries a sequence's reward.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metarm/model/reward_model.h"

namespace metarm {

// Of groups of sequences, group after group: float32 [B, D] on the CPU, B sequences in all. Each group is one token tree, several trees one
// forward pass of up to tokens_per_batch tokens. A reward is its product with the head's weights, plus the head's bias. `progress` is
// called with the number of groups done.
at::Tensor hidden_states(const RewardModel& reward_model, std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch,
                         const std::function<void(std::int64_t done)>& progress = {});

}  // namespace metarm
