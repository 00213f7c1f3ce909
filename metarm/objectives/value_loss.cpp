#include "metarm/objectives/value_loss.h"

#include <ATen/ATen.h>

namespace metarm {

ValueLosses value_losses(const at::Tensor& value_S, const at::Tensor& old_value_S, const at::Tensor& return_S, double cliprange) {
  const at::Tensor plain_S = (value_S - return_S).square();
  if (cliprange == 0) return {plain_S / 2, at::zeros_like(old_value_S)};
  const at::Tensor clipped_S = (at::clamp(value_S, old_value_S - cliprange, old_value_S + cliprange) - return_S).square();
  return {at::maximum(plain_S, clipped_S) / 2, clipped_S.detach().gt(plain_S.detach()).to(at::kFloat)};
}

double explained_variance(const at::Tensor& value_S, const at::Tensor& return_S) {
  const auto variance = [](const at::Tensor& x) { return x.to(at::kDouble).var(/*unbiased=*/false).item<double>(); };
  return 1 - variance(return_S - value_S) / variance(return_S);
}

}  // namespace metarm
