// Matrix products in a model's compute type.
#pragma once

#include <ATen/core/Tensor.h>

namespace metarm {

// Whether this processor multiplies bfloat16 in hardware (AVX-512 or AMX). Where it does not, torch's bfloat16 products run at a tenth of
// the speed of its float32 ones, and those below widen their factors first.
bool multiplies_bfloat16();

// A factor as products want it: itself, or on such a processor its float32 copy. Exact.
at::Tensor product_factor(const at::Tensor& x);
// a · b for matrices in one type, or as product_factor made them, rounded once to `dtype`.
at::Tensor product(const at::Tensor& a, const at::Tensor& b, at::ScalarType dtype);

}  // namespace metarm
