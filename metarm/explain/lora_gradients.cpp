#include "metarm/explain/lora_gradients.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <utility>

namespace metarm {

LoraGradients::LoraGradients(RewardModel reward_model, std::int64_t width, std::uint64_t seed) : reward_model_(std::move(reward_model)) {
  for (LowRankUpdate& update : reward_model_.model.updates)
    for (at::Tensor* matrix : {&update.a, &update.b}) {
      leaves_.push_back(matrix->detach().clone().set_requires_grad(true));
      *matrix = leaves_.back();
      length_ += matrix->numel();
    }
  if (width > 0) projection_.emplace(length_, width, seed);
}

LoraGradients::Slope LoraGradients::slope(const std::vector<TokenIds>& pair) const {
  const at::AutoGradMode with_gradients(true);
  const TokenTree tree = make_token_tree(pair);
  const at::Tensor reward_B = batch_rewards(reward_model_, make_batch(std::span(&tree, 1)), {});
  const at::Tensor difference = reward_B[0] - reward_B[1];
  const std::vector<at::Tensor> gradients = torch::autograd::grad({difference}, leaves_);

  Slope slope{difference.item<double>(), std::vector<double>(static_cast<std::size_t>(width()))};
  std::int64_t first = 0;
  for (const at::Tensor& gradient : gradients) {
    const at::Tensor plain = gradient.to(at::kCPU, at::kFloat).contiguous();
    const std::span values(plain.const_data_ptr<float>(), static_cast<std::size_t>(plain.numel()));
    if (projection_)
      projection_->add(values, first, slope.gradient);
    else
      std::copy(values.begin(), values.end(), slope.gradient.begin() + static_cast<std::ptrdiff_t>(first));
    first += plain.numel();
  }
  return slope;
}

}  // namespace metarm
