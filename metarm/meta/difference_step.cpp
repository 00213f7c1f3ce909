#include "metarm/meta/difference_step.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>

#include "metarm/objectives/difference_loss.h"

namespace metarm {

namespace {

std::vector<TokenTree> make_trees(const DifferenceStep& step, std::span<const std::int64_t> rows) {
  std::vector<TokenTree> trees;
  for (const std::int64_t row : rows) trees.push_back(make_token_tree(step.groups[static_cast<std::size_t>(row)].responses));
  return trees;
}

// Calls `visit` with the sum of each microbatch's values over the number of groups: the parts of J.
void for_each_part(const DifferenceStep& step, std::span<const std::int64_t> rows, const ForwardOptions& forward,
                   const std::function<void(const at::Tensor&)>& visit) {
  const std::vector<TokenTree> trees = make_trees(step, rows);
  for (const TreeRange range : pack_trees(trees, step.tokens_per_batch)) {
    const auto part = std::span(trees).subspan(range.begin, range.end - range.begin);
    std::vector<std::int64_t> sizes;
    for (const TokenTree& tree : part) sizes.push_back(static_cast<std::int64_t>(tree.branches.size()));
    const at::Tensor reward_B = batch_rewards(step.setup.reward_model(), make_batch(part), forward);
    visit(difference_losses(reward_B, sizes).sum() / static_cast<double>(rows.size()));
  }
}

}  // namespace

double DifferenceStep::value(std::span<const std::int64_t> rows) const {
  const at::NoGradGuard no_grad;
  double total = 0;
  for_each_part(*this, rows, {}, [&](const at::Tensor& part) { total += part.item<double>(); });
  return total;
}

double DifferenceStep::backward(std::span<const std::int64_t> rows, double weight) const {
  double total = 0;
  for_each_part(*this, rows, {.gradient_checkpointing = gradient_checkpointing}, [&](const at::Tensor& part) {
    (part * weight).backward();
    total += part.item<double>();
  });
  return total;
}

at::Tensor DifferenceStep::hessian_product(std::span<const std::int64_t> rows, const at::Tensor& vector) const {
  const FlatTensors& master = setup.trainable->master();
  const std::vector<at::Tensor>& leaves = setup.trainable->leaves();
  std::vector<at::Tensor> vectors;
  for (std::size_t i = 0; i < leaves.size(); ++i)
    vectors.push_back(vector.narrow(0, master.offset(i), leaves[i].numel()).view(leaves[i].sizes()).to(leaves[i].scalar_type()));
  for_each_part(*this, rows, {.twice_differentiable = true}, [&](const at::Tensor& part) {
    const std::vector<at::Tensor> gradients = torch::autograd::grad({part}, leaves, {}, true, true, true);
    at::Tensor product;
    for (std::size_t i = 0; i < leaves.size(); ++i) {
      if (!gradients[i].defined()) continue;
      const at::Tensor term = (gradients[i].to(at::kFloat) * vectors[i].to(at::kFloat)).sum();
      product = product.defined() ? product + term : term;
    }
    if (product.defined() && product.requires_grad()) product.backward();
  });
  at::Tensor result = at::zeros_like(master.flat());
  setup.trainable->move_gradients_to(result);
  return result;
}

std::int64_t DifferenceStep::token_count(std::span<const std::int64_t> rows) const {
  std::int64_t count = 0;
  for (const TokenTree& tree : make_trees(*this, rows)) count += tree.token_count();
  return count;
}

}  // namespace metarm
