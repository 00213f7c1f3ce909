// The responses of a step with all that is known of them before its updates, and the parts of them that updates learn from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "metarm/rl/response_pass.h"
#include "metarm/rl/rollouts.h"

namespace metarm {

// Of every response token, [S] float32 on the CPU; the same on all ranks.
struct Experience {
  Rollouts rollouts;
  std::vector<ResponseTree> trees;  // one a prompt
  double kl_coef = 0;
  at::Tensor old_log_prob_S, reference_log_prob_S;
  at::Tensor value_S, return_S;  // with a critic: what it expected, and its targets
  at::Tensor advantage_S;
};

// What an update learns from: some of a step's prompts with all of their responses.
struct MiniBatch {
  const Experience& experience;
  std::vector<std::int64_t> prompts;
  std::vector<ResponseTree> trees;  // theirs
  double tokens = 0;                // of their responses

  // Those of a step's numbers [S] that are of a microbatch's response tokens, on the policy's device.
  at::Tensor of_batch(const Microbatch& batch, const at::Tensor& value_S, at::Device device) const;
};

MiniBatch make_mini_batch(const Experience& experience, std::vector<std::int64_t> prompts);

}  // namespace metarm
