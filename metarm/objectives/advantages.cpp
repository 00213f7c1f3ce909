#include "metarm/objectives/advantages.h"

#include <ATen/ATen.h>

namespace metarm {

at::Tensor rloo_advantages(const at::Tensor& reward_PK) {
  const auto others = static_cast<double>(reward_PK.size(1) - 1);
  return reward_PK - (reward_PK.sum(1, true) - reward_PK) / others;
}

at::Tensor grpo_advantages(const at::Tensor& reward_PK) {
  return (reward_PK - reward_PK.mean(1, true)) / (reward_PK.std(1, true, true) + 1e-4);
}

at::Tensor gae_advantages(const at::Tensor& reward_S, const at::Tensor& value_S, std::span<const std::int64_t> row_begin, double gamma,
                          double lambda) {
  at::Tensor made = at::empty_like(reward_S);
  const float *reward = reward_S.const_data_ptr<float>(), *value = value_S.const_data_ptr<float>();
  float* advantage = made.mutable_data_ptr<float>();
  for (std::size_t row = 0; row + 1 < row_begin.size(); ++row) {
    double next_value = 0, next = 0;
    for (std::int64_t t = row_begin[row + 1] - 1; t >= row_begin[row]; --t) {
      next = reward[t] + gamma * next_value - value[t] + gamma * lambda * next;
      next_value = value[t];
      advantage[t] = static_cast<float>(next);
    }
  }
  return made;
}

at::Tensor whiten(const at::Tensor& value_S) {
  const at::Tensor centred = value_S - value_S.mean();
  return centred / at::sqrt(centred.square().mean() + 1e-8);
}

}  // namespace metarm
