#include "metarm/objectives/head_losses.h"

#include <ATen/ATen.h>

namespace metarm {

at::Tensor code_information(const at::Tensor& mean_BK, const at::Tensor& log_variance_BK) {
  return 0.5 * (mean_BK.square() + log_variance_BK.exp() - log_variance_BK - 1).sum(1);
}

at::Tensor correlation(const at::Tensor& a_B, const at::Tensor& b_B) {
  const at::Tensor a = a_B - a_B.mean(), b = b_B - b_B.mean();
  return (a * b).sum() / (a.square().sum() * b.square().sum()).clamp_min(1e-12).sqrt();
}

at::Tensor length_penalty(const at::Tensor& quality_B, const at::Tensor& of_length_B, const at::Tensor& length_B,
                          const at::Tensor& quality_head, const at::Tensor& length_head) {
  const at::Tensor product = (quality_head * length_head).sum();
  const at::Tensor lengths = (quality_head.square().sum() * length_head.square().sum()).clamp_min(1e-12).sqrt();
  return correlation(quality_B, length_B).abs() - correlation(of_length_B, length_B) + product.abs() / lengths;
}

}  // namespace metarm
