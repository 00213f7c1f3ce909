// Hidden states in two dimensions: their first two principal components.
//
// With X the states less their mean, X = U S V', the coordinates are the first two columns of U S; each component's sign is such that its
// largest coordinate in size is positive.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>

namespace metarm {

struct PrincipalPlane {
  at::Tensor point_B2;                         // float64 [B, 2]
  std::array<double, 2> explained_variance{};  // shares of the whole variance
};
// hidden: [B, D] with B and D at least 2. Cost O(B D min(B, D)).
PrincipalPlane principal_plane(const at::Tensor& hidden_BD);

}  // namespace metarm
