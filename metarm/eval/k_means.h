// Clusters of points, by k-means (Lloyd 1982) from centres that k-means++ draws (Arthur and Vassilvitskii 2007).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace metarm {

// The cluster of each point of [N, D] float64 on the CPU, from 0 in the order of their first points; 1 <= k <= N. The best of several draws
// by the sum of squared distances to the centres; a function of the points and the seed. Fewer than k clusters where fewer points differ.
// Cost O(N D k) a pass.
std::vector<std::int64_t> k_means(const at::Tensor& point_ND, std::int64_t k, std::uint64_t seed);

}  // namespace metarm
