// A model's passes over the responses of a step: token trees, divided among ranks, by microbatches of up to tokens_per_batch tokens. Which
// model reads them, a policy or a critic, and what the loss is, is the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metarm/data/encode.h"
#include "metarm/model/token_log_probs.h"
#include "metarm/train/gradient_sum.h"
#include "metarm/train/training_setup.h"

namespace metarm {

// Responses to one prompt, a branch each.
struct ResponseTree {
  TokenTree tree;
  std::vector<std::int64_t> begins;  // see list_response_tokens
  std::int64_t response_tokens() const;
};
ResponseTree make_response_tree(std::span<const EncodedResponse> responses);

// Some trees of the step, all of their responses: rows in the order of trees, then branches.
struct Microbatch {
  std::span<const std::size_t> places;  // of its trees, among the step's
  Batch batch;
  ResponseTokens tokens;
  ForwardOptions options;

  // Of the response tokens, float32 [S].
  TokenLogProbs log_probs(const Model& policy, double temperature = 1) const;
  // What a reward model's head says before each of them.
  at::Tensor values(const RewardModel& critic) const;
};

struct ResponsePass {
  double dropout = 0;
  bool gradient_checkpointing = false;
  std::int64_t tokens_per_batch = 2048;
  std::uint64_t seed = 0;

  // Adds the gradient of the sum of `loss` over all microbatches, of all ranks, and finishes `sum`. `update` counts the optimizer's.
  // Returns how many tokens the step's trees have.
  std::int64_t backward(const Ranks& ranks, std::span<const ResponseTree> trees, std::int64_t update, GradientSum& sum,
                        const std::function<at::Tensor(const Microbatch&)>& loss) const;
  // Without gradients or dropout; each rank visits its own. `progress`: trees of this rank done, in shares of the whole.
  void forward(const Ranks& ranks, std::span<const ResponseTree> trees, const std::function<void(const Microbatch&)>& visit,
               const std::function<void(std::int64_t)>& progress = {}) const;
  // The same, where `read` gives a number for each response token of a microbatch: those of all trees in their order, float32 [S] on the
  // CPU, on every rank.
  at::Tensor read_tokens(Ranks& ranks, std::span<const ResponseTree> trees, const std::function<at::Tensor(const Microbatch&)>& read) const;
};

ResponsePass make_response_pass(const TrainingOptions& training, const SequenceOptions& sequences, const CommonOptions& common);

}  // namespace metarm
