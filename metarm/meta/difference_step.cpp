#include "metarm/meta/difference_step.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>
#include <functional>

#include "metarm/objectives/difference_loss.h"
#include "metarm/train/rank_trees.h"

namespace metarm {

namespace {

std::vector<TokenTree> make_trees(const DifferenceStep& step, std::span<const std::int64_t> rows) {
  std::vector<TokenTree> trees;
  for (const std::int64_t row : rows) trees.push_back(make_token_tree(step.groups[static_cast<std::size_t>(row)].responses));
  return trees;
}

// Calls `visit` with the sum of each microbatch's values over the number of groups: this rank's parts of J. Returns J.
double for_each_part(const DifferenceStep& step, std::span<const std::int64_t> rows, const ForwardOptions& forward, GradientSum* sum,
                     const std::function<void(const at::Tensor&)>& visit) {
  std::array<double, 1> total = {0};
  const std::vector<TokenTree> trees = trees_of_rank(make_trees(step, rows), step.setup.ranks).trees;
  for (const TreeRange range : pack_trees(trees, step.tokens_per_batch)) {
    const auto part = std::span(trees).subspan(range.begin, range.end - range.begin);
    std::vector<std::int64_t> sizes;
    for (const TokenTree& tree : part) sizes.push_back(static_cast<std::int64_t>(tree.branches.size()));
    const at::Tensor reward_B = batch_rewards(step.setup.reward_model(), make_batch(part), forward);
    const at::Tensor of_part = difference_losses(reward_B, sizes).sum() / static_cast<double>(rows.size());
    if (sum != nullptr && range.end == trees.size()) sum->before_last_pass();
    visit(of_part);
    total[0] += of_part.item<double>();
  }
  if (sum != nullptr) sum->finish();
  step.setup.ranks.sum(total);
  return total[0];
}

}  // namespace

double DifferenceStep::value(std::span<const std::int64_t> rows) const {
  const at::NoGradGuard no_grad;
  return for_each_part(*this, rows, {}, nullptr, [](const at::Tensor&) {});
}

double DifferenceStep::gradient(std::span<const std::int64_t> rows, at::Tensor& gradient) const {
  GradientSum sum(setup.ranks, *setup.trainable, gradient);
  return for_each_part(*this, rows, {.gradient_checkpointing = gradient_checkpointing}, &sum,
                       [](const at::Tensor& part) { part.backward(); });
}

double DifferenceStep::backward(std::span<const std::int64_t> rows, double weight) const {
  return for_each_part(*this, rows, {.gradient_checkpointing = gradient_checkpointing}, nullptr,
                       [&](const at::Tensor& part) { (part * weight).backward(); });
}

at::Tensor DifferenceStep::hessian_product(std::span<const std::int64_t> rows, const at::Tensor& vector) const {
  const FlatTensors& master = setup.trainable->master();
  std::vector<at::Tensor> leaves, vectors;
  for (std::size_t i = 0; i < master.size(); ++i) {
    const at::Tensor& leaf = setup.trainable->leaves()[i];
    if (!leaf.requires_grad()) continue;
    leaves.push_back(leaf);
    vectors.push_back(vector.narrow(0, master.offset(i), leaf.numel()).view(leaf.sizes()).to(leaf.scalar_type()));
  }
  at::Tensor result = at::zeros_like(master.flat());
  GradientSum sum(setup.ranks, *setup.trainable, result);
  for_each_part(*this, rows, {.twice_differentiable = true}, &sum, [&](const at::Tensor& part) {
    const std::vector<at::Tensor> gradients = torch::autograd::grad({part}, leaves, {}, true, true, true);
    at::Tensor product;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (!gradients[i].defined()) continue;
      const at::Tensor term = (gradients[i].to(at::kFloat) * vectors[i].to(at::kFloat)).sum();
      product = product.defined() ? product + term : term;
    }
    if (product.defined() && product.requires_grad()) product.backward();
  });
  return setup.share().own(result);
}

std::int64_t DifferenceStep::token_count(std::span<const std::int64_t> rows) const {
  std::int64_t count = 0;
  for (const TokenTree& tree : make_trees(*this, rows)) count += tree.token_count();
  return count;
}

}  // namespace metarm
