// Reward heads as transformers and other trainers write them: a row vector w, sometimes with a bias, read at one token.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "metarm/base/log.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/tensor_files.h"

namespace metarm {

struct RewardHead {
  std::set<std::string> tensors;  // their names
  at::Tensor weight;              // [1, D] float32
  at::Tensor bias;                // [1] float32; undefined where there is none
};
// nullopt where the files have none. A normalization of rewards that the trainer applied behind the head is left out, with a warning.
std::optional<RewardHead> read_reward_head(const CheckpointConfig& config, const TensorFiles& files, Log& log);
[[noreturn]] void fail_without_head(const CheckpointConfig& config);

// N(0, 1 / (width + 1)), [1, D] float32.
at::Tensor make_reward_head(std::int64_t width, std::uint64_t seed);
// The head of a reward model's folder, or of an adapter's, [1, D] float32, without the bias that it may have. Input error where there is
// none.
at::Tensor load_reward_head(const std::string& directory, Log& log);

// Where config.json says that rewards are read: metarm_pooling, or `pooling` of OASST's models. Input error for what is not supported.
Pooling stored_pooling(const CheckpointConfig& config);

// Takes a head's bias c out of the model, since transformers has no place for one. Where the final norm has a bias b, that takes it over,
// b + c w / |w|^2, and rewards stay as they are; elsewhere all rewards fall by c, which is returned (0: they stay).
double remove_score_bias(Model& model);

}  // namespace metarm
