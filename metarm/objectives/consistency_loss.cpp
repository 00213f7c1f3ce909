#include "metarm/objectives/consistency_loss.h"

#include <ATen/ATen.h>

#include <vector>

namespace metarm {

at::Tensor consistency_losses(const at::Tensor& reward_B, const at::Tensor& other_B, std::span<const std::int64_t> sizes) {
  std::vector<at::Tensor> values;
  std::int64_t begin = 0;
  for (const std::int64_t k : sizes) {
    const auto differences = [&](const at::Tensor& of_B) {
      const at::Tensor of_K = of_B.narrow(0, begin, k);
      return of_K.unsqueeze(1) - of_K.unsqueeze(0);
    };
    const at::Tensor d_KK = differences(reward_B), other_KK = differences(other_B);
    // Each two responses are met twice, and half of it counts.
    values.push_back(((at::sigmoid(d_KK) - at::sigmoid(other_KK)) * (d_KK - other_KK)).sum() / static_cast<double>(2 * k * (k - 1)));
    begin += k;
  }
  return at::stack(values);
}

}  // namespace metarm
