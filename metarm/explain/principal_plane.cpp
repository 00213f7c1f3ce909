#include "metarm/explain/principal_plane.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace metarm {

PrincipalPlane principal_plane(const at::Tensor& hidden_BD) {
  const at::Tensor centred_BD = hidden_BD.to(at::kDouble) - hidden_BD.to(at::kDouble).mean(0, true);
  const auto [left, singular, right] = at::linalg_svd(centred_BD, false);
  const at::Tensor squares = singular.square(), point_B2 = (left * singular).narrow(1, 0, 2);
  const at::Tensor largest = point_B2.gather(0, point_B2.abs().argmax(0, true));
  PrincipalPlane plane{at::where(largest < 0, -point_B2, point_B2).contiguous(), {}};
  const double whole = std::max(squares.sum().item<double>(), 1e-300);
  for (std::int64_t i = 0; i < 2; ++i) plane.explained_variance[static_cast<std::size_t>(i)] = squares[i].item<double>() / whole;
  return plane;
}

}  // namespace metarm
