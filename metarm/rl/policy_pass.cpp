#include "metarm/rl/policy_pass.h"

#include <ATen/ATen.h>

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
  std::size_t first_place(const TreeRange& range) const { return own_.places[range.begin]; }

  Microbatch run(const Model& policy, const TreeRange& range, double temperature, const ForwardOptions& options) const {
    const std::size_t count = range.end - range.begin;
    const Batch batch = make_batch(std::span(own_.trees).subspan(range.begin, count));
    Microbatch made{std::span(own_.places).subspan(range.begin, count), {}, {}};
    std::vector<std::int64_t> begins;
    for (const std::size_t place : made.places) {
      const std::vector<std::int64_t>& of_tree = step_trees_[place].begins;
      begins.insert(begins.end(), of_tree.begin(), of_tree.end());
    }
    made.tokens = list_response_tokens(batch, begins);
    made.values = token_log_probs(policy, batch, made.tokens, temperature, options);
    return made;
  }

 private:
  std::span<const ResponseTree> step_trees_;
  RankTrees own_;
  std::vector<TreeRange> ranges_;
};

}  // namespace

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

std::int64_t PolicyPass::backward(const TrainingSetup& setup, std::span<const ResponseTree> trees, std::int64_t update, GradientSum& sum,
                                  const std::function<at::Tensor(const Microbatch&)>& loss) const {
  const Pieces pieces(trees, setup.ranks, tokens_per_batch);
  for (const TreeRange& range : pieces.ranges()) {
    // The masks are a function of the update and of which trees the pass has.
    const ForwardOptions options{dropout, derive_seed(seed, "dropout", static_cast<std::uint64_t>(update), pieces.first_place(range)),
                                 gradient_checkpointing, false};
    const at::Tensor of_piece = loss(pieces.run(setup.policy(), range, temperature, options));
    if (range.end == pieces.tree_count()) sum.before_last_pass();
    of_piece.backward();
  }
  sum.finish();
  return pieces.step_tokens();
}

void PolicyPass::forward(const Model& policy, const Ranks& ranks, std::span<const ResponseTree> trees,
                         const std::function<void(const Microbatch&)>& visit, const std::function<void(std::int64_t)>& progress) const {
  const at::NoGradGuard no_grad;
  const Pieces pieces(trees, ranks, tokens_per_batch);
  for (const TreeRange& range : pieces.ranges()) {
    visit(pieces.run(policy, range, temperature, {}));
    if (progress) progress(static_cast<std::int64_t>(range.end * trees.size() / pieces.tree_count()));
  }
}

PolicyPass make_policy_pass(const TrainingOptions& training, const SequenceOptions& sequences, const CommonOptions& common) {
  return {training.dropout, training.gradient_checkpointing, sequences.tokens_per_batch, static_cast<std::uint64_t>(common.seed), 1};
}

}  // namespace metarm
