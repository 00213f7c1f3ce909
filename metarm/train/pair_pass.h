// One forward pass over pairs: their rewards and, where it is asked for, the language-model loss on the chosen responses.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>

#include "metarm/model/reward_model.h"

namespace metarm {

struct PairPassOptions {
  bool lm_loss = false;   // the model has the head of a language model
  bool features = false;  // instead of rewards
};

struct PairPass {
  at::Tensor chosen_B, rejected_B;  // rewards, float32 [B]; undefined where features are asked for
  at::Tensor feature_BD;  // what the reward head reads, float32 [2 B, D], chosen and rejected of each pair in turn; else undefined
  // Mean over a chosen response's tokens of −log p(token), float32 [B]; undefined where it is not asked for. The tokens are those that the
  // rejected response does not begin with, too: those of the pair's branch in its tree.
  at::Tensor lm_loss_B;
};

// Of token trees of two branches, chosen and rejected.
PairPass run_pairs(const RewardModel& reward_model, std::span<const TokenTree> pairs, const PairPassOptions& wanted,
                   const ForwardOptions& options);

}  // namespace metarm
