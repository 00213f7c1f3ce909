// Planted clusters are found, the sum of squares is near that of an exhaustive search, and like points make fewer clusters.
#include "metarm/eval/k_means.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "metarm/base/random.h"

namespace metarm {
namespace {

at::Tensor points(std::int64_t count, std::int64_t width, std::uint64_t seed) {
  RandomStream random(seed, "points");
  at::Tensor made = at::empty({count, width}, at::kDouble);
  for (std::int64_t i = 0; i < made.numel(); ++i) made.view({-1})[i] = random.normal();
  return made;
}

double sum_of_squares(const at::Tensor& point_ND, const std::vector<std::int64_t>& clusters) {
  double sum = 0;
  for (const std::int64_t cluster : std::set(clusters.begin(), clusters.end())) {
    std::vector<at::Tensor> own;
    for (std::size_t i = 0; i < clusters.size(); ++i)
      if (clusters[i] == cluster) own.push_back(point_ND[static_cast<std::int64_t>(i)]);
    const at::Tensor own_ND = at::stack(own);
    sum += (own_ND - own_ND.mean(0)).square().sum().item<double>();
  }
  return sum;
}

TEST(KMeans, PlantedClustersAreFound) {
  at::Tensor point_ND = points(60, 5, 1);
  for (std::int64_t i = 0; i < 60; ++i) point_ND[i][i % 3] += 30;
  const std::vector<std::int64_t> found = k_means(point_ND, 3, 7);
  for (std::size_t i = 0; i < 60; ++i) EXPECT_EQ(found[i], found[i % 3]);
  EXPECT_EQ(std::set(found.begin(), found.end()).size(), 3U);
  EXPECT_EQ(k_means(point_ND, 3, 7), found);
}

TEST(KMeans, NearTheBestOfAllDivisions) {
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    const at::Tensor point_ND = points(9, 2, seed);
    double best = std::numeric_limits<double>::infinity();
    for (int code = 0; code < 512; ++code) {
      std::vector<std::int64_t> clusters;
      for (int i = 0; i < 9; ++i) clusters.push_back(code >> i & 1);
      best = std::min(best, sum_of_squares(point_ND, clusters));
    }
    const double found = sum_of_squares(point_ND, k_means(point_ND, 2, seed));
    EXPECT_GE(found, best - 1e-9);
    EXPECT_LE(found, best * 1.1);  // no move of a centre makes it better, but another division may
  }
}

TEST(KMeans, LikePointsMakeFewerClusters) {
  const at::Tensor point_ND = at::tensor({1.0, 1.0, 5.0, 5.0}, at::kDouble).view({4, 1});
  const std::vector<std::int64_t> found = k_means(point_ND, 3, 0);
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[2], found[3]);
  EXPECT_NE(found[0], found[2]);
  EXPECT_EQ(k_means(point_ND, 1, 0), (std::vector<std::int64_t>{0, 0, 0, 0}));
}

}  // namespace
}  // namespace metarm
