#include "metarm/model/matrix_product.h"

#include <ATen/ATen.h>

namespace metarm {

bool multiplies_bfloat16() {
#if defined(__x86_64__)
  static const bool supported = __builtin_cpu_supports("avx512bf16");
  return supported;
#else
  return false;
#endif
}

at::Tensor product_factor(const at::Tensor& x) {
  const bool widened = x.is_cpu() && x.scalar_type() == at::kBFloat16 && !multiplies_bfloat16();
  return widened ? x.to(at::kFloat) : x;
}

at::Tensor product(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype) {
  return at::mm(product_factor(a), product_factor(b)).to(dtype);
}

}  // namespace metarm
