#include "metarm/rl/response_pass.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "metarm/base/random.h"
#include "metarm/train/rank_trees.h"

namespace metarm {

namespace {

// This rank's trees, cut into microbatches.
class Pieces {
 public:
  Pieces(std::span<const ResponseTree> trees, const Ranks& ranks, std::int64_t tokens_per_batch) : step_trees_(trees) {
    std::vector<TokenTree> plain;
    for (const ResponseTree& tree : trees) plain.push_back(tree.tree);
    own_ = trees_of_rank(std::move(plain), ranks);
    ranges_ = pack_trees(own_.trees, tokens_per_batch);
  }

  std::span<const TreeRange> ranges() const { return ranges_; }
  std::int64_t step_tokens() const { return own_.step_tokens; }
  std::size_t tree_count() const { return own_.trees.size(); }

  Microbatch make(const TreeRange& range, const ForwardOptions& options) const {
    const std::size_t count = range.end - range.begin;
    Microbatch made{
        std::span(own_.places).subspan(range.begin, count), make_batch(std::span(own_.trees).subspan(range.begin, count)), {}, options};
    std::vector<std::int64_t> begins;
    for (const std::size_t place : made.places) {
      const std::vector<std::int64_t>& of_tree = step_trees_[place].begins;
      begins.insert(begins.end(), of_tree.begin(), of_tree.end());
    }
    made.tokens = list_response_tokens(made.batch, begins);
    return made;
  }

 private:
  std::span<const ResponseTree> step_trees_;
  RankTrees own_;
  std::vector<TreeRange> ranges_;
};

}  // namespace

std::int64_t ResponseTree::response_tokens() const {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < begins.size(); ++i)
    count += static_cast<std::int64_t>(tree.prompt.size() + tree.branches[i].size()) - begins[i];
  return count;
}

ResponseTree make_response_tree(std::span<const EncodedResponse> responses) {
  std::vector<TokenIds> sequences;
  ResponseTree made;
  for (const EncodedResponse& response : responses) {
    sequences.push_back(response.tokens);
    made.begins.push_back(response.begin);
  }
  made.tree = make_token_tree(sequences);
  return made;
}

TokenLogProbs Microbatch::log_probs(const Model& policy, double temperature) const {
  return token_log_probs(policy, batch, tokens, temperature, options);
}

at::Tensor Microbatch::values(const RewardModel& critic) const { return batch_rewards(critic.model, batch, tokens.predictors, options); }

std::int64_t ResponsePass::backward(const Ranks& ranks, std::span<const ResponseTree> trees, std::int64_t update, GradientSum& sum,
                                    const std::function<at::Tensor(const Microbatch&)>& loss) const {
  const Pieces pieces(trees, ranks, tokens_per_batch);
  for (const TreeRange& range : pieces.ranges()) {
    const ForwardOptions options{dropout, derive_seed(seed, "dropout", static_cast<std::uint64_t>(update)), gradient_checkpointing, false};
    const at::Tensor of_piece = loss(pieces.make(range, options));
    if (range.end == pieces.tree_count()) sum.before_last_pass();
    of_piece.backward();
  }
  sum.finish();
  return pieces.step_tokens();
}

void ResponsePass::forward(const Ranks& ranks, std::span<const ResponseTree> trees, const std::function<void(const Microbatch&)>& visit,
                           const std::function<void(std::int64_t)>& progress) const {
  const at::NoGradGuard no_grad;
  const Pieces pieces(trees, ranks, tokens_per_batch);
  for (const TreeRange& range : pieces.ranges()) {
    visit(pieces.make(range, {}));
    if (progress) progress(static_cast<std::int64_t>(range.end * trees.size() / pieces.tree_count()));
  }
}

at::Tensor ResponsePass::read_tokens(Ranks& ranks, std::span<const ResponseTree> trees,
                                     const std::function<at::Tensor(const Microbatch&)>& read) const {
  std::vector<std::int64_t> begin = {0};
  for (const ResponseTree& tree : trees) begin.push_back(begin.back() + tree.response_tokens());
  std::vector<double> all(static_cast<std::size_t>(begin.back()), 0.0);  // each comes from one rank, the others add 0
  forward(ranks, trees, [&](const Microbatch& batch) {
    const at::Tensor value_S = read(batch).cpu().contiguous();
    const float* next = value_S.const_data_ptr<float>();
    for (const std::size_t place : batch.places) {
      std::copy_n(next, begin[place + 1] - begin[place], all.begin() + begin[place]);
      next += begin[place + 1] - begin[place];
    }
  });
  ranks.sum(all);
  return at::tensor(all, at::kDouble).to(at::kFloat);
}

ResponsePass make_response_pass(const TrainingOptions& training, const SequenceOptions& sequences, const CommonOptions& common) {
  return {training.dropout, training.gradient_checkpointing, sequences.tokens_per_batch, static_cast<std::uint64_t>(common.seed)};
}

}  // namespace metarm
