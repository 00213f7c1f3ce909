#include "metarm/objectives/difference_loss.h"

#include <ATen/ATen.h>

#include <vector>

namespace metarm {

at::Tensor difference_losses(const at::Tensor& reward_B, std::span<const std::int64_t> sizes) {
  std::vector<std::int64_t> first, second, prompt;
  std::vector<float> factor;
  std::int64_t begin = 0;
  for (std::size_t p = 0; p < sizes.size(); ++p) {
    const std::int64_t k = sizes[p];
    for (std::int64_t i = 0; i < k; ++i)
      for (std::int64_t j = i + 1; j < k; ++j) {
        first.push_back(begin + i);
        second.push_back(begin + j);
        prompt.push_back(static_cast<std::int64_t>(p));
        factor.push_back(2.0F / static_cast<float>(k * k));
      }
    begin += k;
  }
  const at::Device device = reward_B.device();
  const auto indices = [&](const std::vector<std::int64_t>& values) { return at::tensor(values, at::kLong).to(device); };
  // abs has the derivative sign(x), 0 at a tie.
  const at::Tensor value = at::sigmoid((reward_B.index_select(0, indices(first)) - reward_B.index_select(0, indices(second))).abs());
  return at::zeros({static_cast<std::int64_t>(sizes.size())}, reward_B.options().requires_grad(false))
      .index_add(0, indices(prompt), value * at::tensor(factor, at::kFloat).to(device));
}

}  // namespace metarm
