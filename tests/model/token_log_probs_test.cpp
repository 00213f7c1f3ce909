// Log-probabilities and entropies of responses, and their gradients, against torch's own log-softmax over all logits at once.
#include "metarm/model/token_log_probs.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace metarm {
namespace {

// A head large enough for its rows to be taken in pieces.
Model make_model(bool tied, double softcap) {
  ModelSpec spec;
  spec.vocab_size = 1 << 19;
  spec.width = 4;
  spec.layers = 1;
  spec.heads = spec.kv_heads = 1;
  spec.head_width = spec.rotary_width = 4;
  spec.mlp_width = 4;
  spec.max_positions = 100;
  spec.attention_scale = 0.5;
  spec.logit_softcap = softcap;
  spec.tied_embeddings = tied;
  Model model{spec, Weights(spec, HeadKind::language_model, at::kFloat, at::kCPU), {}};
  torch::manual_seed(1);
  at::Tensor flat = model.weights.storage().flat();
  flat.normal_(0, 0.7);
  std::vector<at::Tensor> leaves;
  for (std::size_t i = 0; i < model.weights.storage().size(); ++i)
    leaves.push_back(model.weights.storage().tensor(i).detach().requires_grad_(true));
  model.weights = model.weights.with_tensors(leaves);
  return model;
}

Batch make_trees() {
  const std::vector<TokenIds> first = {{5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}, {5, 6, 7, 8, 300000}},
                              second = {{9, 9, 9}};
  return make_batch(std::vector<TokenTree>{make_token_tree(first), make_token_tree(second)});
}

struct Case {
  bool tied;
  double softcap, temperature;
};

class LogProbs : public testing::TestWithParam<Case> {};

TEST_P(LogProbs, AndTheirGradientsEqualTorch) {
  const auto [tied, softcap, temperature] = GetParam();
  const Model model = make_model(tied, softcap);
  const Batch batch = make_trees();
  const std::vector<std::int64_t> begins = {2, 3, 1};  // the first two within the tokens that both share
  const ResponseTokens tokens = list_response_tokens(batch, begins);
  ASSERT_EQ(tokens.row_begin, (std::vector<std::int64_t>{0, 18, 20, 22}));
  const TokenLogProbs values = token_log_probs(model, batch, tokens, temperature, {});

  const at::Tensor logits = language_logits(model, run_batch(model, batch, {})) / temperature;
  const at::Tensor log_p = at::log_softmax(logits, 1).index_select(0, torch::tensor(tokens.predictors));
  const at::Tensor expected = log_p.gather(1, torch::tensor(tokens.targets).unsqueeze(1)).squeeze(1);
  const at::Tensor entropy = -(log_p.exp() * log_p).sum(1);
  EXPECT_TRUE(at::allclose(values.log_prob_S, expected, 1e-4, 1e-4));
  EXPECT_TRUE(at::allclose(values.entropy_S, entropy, 1e-4, 1e-4));

  const at::Tensor of_log_prob = torch::randn({22}), of_entropy = torch::randn({22});
  std::vector<at::Tensor> leaves;
  for (const SlotInfo& slot : model.weights.slots()) leaves.push_back(model.weights.at(slot.slot, slot.layer));
  const auto gradients = torch::autograd::grad({(values.log_prob_S * of_log_prob).sum() + (values.entropy_S * of_entropy).sum()}, leaves);
  const auto wanted = torch::autograd::grad({(expected * of_log_prob).sum() + (entropy * of_entropy).sum()}, leaves);
  for (std::size_t i = 0; i < leaves.size(); ++i)
    EXPECT_LT((gradients[i] - wanted[i]).norm().item<double>(), 1e-4 * wanted[i].norm().item<double>())
        << model.weights.slots()[i].info.name;
}

INSTANTIATE_TEST_SUITE_P(Heads, LogProbs, testing::Values(Case{true, 0, 1}, Case{false, 0, 0.7}, Case{false, 2, 1.5}));

TEST(ResponseTokens, FollowTheirPathThroughTheTree) {
  const Batch batch = make_trees();
  const ResponseTokens tokens = list_response_tokens(batch, std::vector<std::int64_t>{18, 3, 2});
  EXPECT_EQ(tokens.targets, (std::vector<std::int64_t>{23, 24, 8, 300000, 9}));
  // The first tree's shared prompt is [5, 6, 7, 8]; its branches have 16 tokens and 1.
  EXPECT_EQ(tokens.predictors, (std::vector<std::int64_t>{17, 18, 2, 3, 22}));
}

TEST(SumRows, AddsWhatIsARows) {
  const at::Tensor sums = sum_rows(torch::tensor({1.F, 2.F, 3.F, 4.F}), std::vector<std::int64_t>{0, 1, 4});
  EXPECT_EQ(sums[0].item<float>(), 1);
  EXPECT_EQ(sums[1].item<float>(), 9);
}

}  // namespace
}  // namespace metarm
