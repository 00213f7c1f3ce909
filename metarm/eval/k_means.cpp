#include "metarm/eval/k_means.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "metarm/base/random.h"

namespace metarm {

namespace {

constexpr std::uint64_t kDraws = 8;
constexpr int kMaxPasses = 100;

at::Tensor squared_distances(const at::Tensor& point_ND, const at::Tensor& centre_D) { return (point_ND - centre_D).square().sum(1); }

// Each centre is a point, drawn in proportion to its squared distance from the nearest centre before it.
at::Tensor draw_centres(const at::Tensor& point_ND, std::int64_t k, RandomStream random) {
  const std::int64_t points = point_ND.size(0);
  std::vector<at::Tensor> centres = {point_ND[static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(points)))]};
  at::Tensor nearest_N = squared_distances(point_ND, centres.back());
  while (static_cast<std::int64_t>(centres.size()) < k) {
    const at::Tensor sum_N = nearest_N.cumsum(0);
    const double mark = random.uniform() * sum_N[points - 1].item<double>();
    const std::int64_t drawn = (sum_N <= mark).sum().item<std::int64_t>();
    centres.push_back(point_ND[std::min(drawn, points - 1)]);
    nearest_N = at::minimum(nearest_N, squared_distances(point_ND, centres.back()));
  }
  return at::stack(centres);
}

struct Clusters {
  at::Tensor of_N;
  double sum_of_squares;
};

// A centre that has no point stays where it is.
Clusters move_centres(const at::Tensor& point_ND, at::Tensor centre_KD) {
  const at::Tensor one_N = at::ones({point_ND.size(0)}, point_ND.options());
  Clusters found{at::full({point_ND.size(0)}, -1, at::kLong), 0};
  for (int pass = 0; pass < kMaxPasses; ++pass) {
    const auto [distance_N, cluster_N] = at::cdist(point_ND, centre_KD).min(1);
    const bool settled = at::equal(cluster_N, found.of_N);
    found = {cluster_N, distance_N.square().sum().item<double>()};
    if (settled) break;
    const at::Tensor count_K = at::zeros({centre_KD.size(0)}, point_ND.options()).index_add(0, cluster_N, one_N);
    const at::Tensor mean_KD = at::zeros_like(centre_KD).index_add(0, cluster_N, point_ND) / count_K.clamp_min(1).unsqueeze(1);
    centre_KD = at::where((count_K > 0).unsqueeze(1), mean_KD, centre_KD);
  }
  return found;
}

std::vector<std::int64_t> in_order_of_first(const at::Tensor& cluster_N) {
  std::map<std::int64_t, std::int64_t> numbers;
  std::vector<std::int64_t> numbered;
  for (std::int64_t i = 0; i < cluster_N.numel(); ++i)
    numbered.push_back(numbers.emplace(cluster_N.data_ptr<std::int64_t>()[i], std::ssize(numbers)).first->second);
  return numbered;
}

}  // namespace

std::vector<std::int64_t> k_means(const at::Tensor& point_ND, std::int64_t k, std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  Clusters best{{}, std::numeric_limits<double>::infinity()};
  for (std::uint64_t draw = 0; draw < kDraws; ++draw) {
    Clusters found = move_centres(point_ND, draw_centres(point_ND, k, RandomStream(seed, "k-means", draw)));
    if (found.sum_of_squares < best.sum_of_squares) best = std::move(found);
  }
  return in_order_of_first(best.of_N);
}

}  // namespace metarm
