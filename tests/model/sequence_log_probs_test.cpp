#include "metarm/model/sequence_log_probs.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "metarm/base/error.h"

namespace metarm {
namespace {

Batch two_branches() {  // tokens 5 6 | 7 8 | 9
  const TokenTree tree{{5, 6}, {{7, 8}, {9}}};
  return make_batch(std::span(&tree, 1));
}

TEST(PredictedTokens, AreReadAtTheTokenBefore) {
  const PredictedTokens predicted = predicted_tokens(two_branches(), std::vector<std::int64_t>{2, 1});
  EXPECT_EQ(predicted.predictors, (std::vector<std::int64_t>{1, 2, 1}));
  EXPECT_EQ(predicted.targets, (std::vector<std::int64_t>{7, 8, 9}));
}

TEST(PredictedTokens, ReachIntoWhatTheBranchesShare) {
  const PredictedTokens predicted = predicted_tokens(two_branches(), std::vector<std::int64_t>{3, 0});
  EXPECT_EQ(predicted.predictors, (std::vector<std::int64_t>{0, 1, 2}));
  EXPECT_EQ(predicted.targets, (std::vector<std::int64_t>{6, 7, 8}));
}

TEST(PredictedTokens, TheFirstTokenHasNothingBeforeIt) {
  EXPECT_THROW(predicted_tokens(two_branches(), std::vector<std::int64_t>{4, 1}), Error);
  EXPECT_THROW(predicted_tokens(two_branches(), std::vector<std::int64_t>{1}), Error);
}

// A vocabulary so large that twenty tokens' logits are made in two parts.
ModelSpec wide_spec() {
  ModelSpec spec;
  spec.vocab_size = 1 << 20;
  spec.width = 4;
  spec.layers = 1;
  spec.heads = spec.kv_heads = 1;
  spec.head_width = spec.rotary_width = 4;
  spec.mlp_width = 4;
  spec.max_positions = 64;
  spec.attention_scale = 0.5;
  spec.tied_embeddings = true;
  return spec;
}

struct Leaves {
  Model model;
  std::vector<at::Tensor> tensors;
};

Leaves make_leaves(const Weights& weights, const ModelSpec& spec) {
  Leaves leaves;
  for (std::size_t i = 0; i < weights.storage().size(); ++i)
    leaves.tensors.push_back(weights.storage().tensor(i).detach().clone().requires_grad_());
  leaves.model = {spec, weights.with_tensors(leaves.tensors), {}};
  return leaves;
}

TEST(BatchLogProbs, HaveTheValuesAndGradientsOfThePlainSoftmax) {
  torch::manual_seed(1);
  const ModelSpec spec = wide_spec();
  Weights weights(spec, HeadKind::language_model, at::kFloat, at::kCPU);
  weights.storage().flat().normal_(0, 0.7);
  TokenTree tree{{1, 2, 3}, {{}, {}}};
  for (TokenId token = 10; token < 20; ++token) {
    tree.branches[0].push_back(token * 1000);
    tree.branches[1].push_back(token * 77);
  }
  const Batch batch = make_batch(std::span(&tree, 1));
  const std::vector<std::int64_t> counts = {12, 8};
  const PredictedTokens predicted = predicted_tokens(batch, counts);
  const at::Tensor weight_T = torch::randn({20});

  Leaves ours = make_leaves(weights, spec), plain = make_leaves(weights, spec);
  const at::Tensor got = batch_log_probs(ours.model, batch, counts, {});
  (got * weight_T).sum().backward();

  const at::Tensor log_prob_NV = torch::log_softmax(language_logits(plain.model, run_batch(plain.model, batch, {})), 1);
  const at::Tensor expected = log_prob_NV.index({torch::tensor(predicted.predictors), torch::tensor(predicted.targets)});
  (expected * weight_T).sum().backward();
  EXPECT_TRUE(torch::allclose(got, expected, 1e-5, 1e-5));
  for (std::size_t i = 0; i < ours.tensors.size(); ++i) {
    ASSERT_TRUE(ours.tensors[i].grad().defined()) << i;
    EXPECT_TRUE(torch::allclose(ours.tensors[i].grad(), plain.tensors[i].grad(), 1e-3, 1e-5)) << i;
  }
}

}  // namespace
}  // namespace metarm
