#include "metarm/explain/random_projection.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "metarm/base/random.h"

namespace metarm {
namespace {

constexpr std::int64_t kLength = 5000, kWidth = 128;

std::vector<float> random_vector(std::uint64_t seed) {
  RandomStream stream(seed, "vector");
  std::vector<float> values;
  for (std::int64_t i = 0; i < kLength; ++i) values.push_back(static_cast<float>(stream.normal() / std::sqrt(kLength)));
  return values;
}

std::vector<double> project(const RandomProjection& projection, const std::vector<float>& values) {
  std::vector<double> projected(static_cast<std::size_t>(projection.width()));
  projection.add(values, 0, projected);
  return projected;
}

template <class Values>
double product(const Values& a, const Values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// x and y of length near 1 with an inner product near 0.6: its projections have that mean and a variance of at most (1 + 0.36) / K.
TEST(RandomProjection, KeepsInnerProducts) {
  constexpr std::uint64_t kSeeds = 400;
  const std::vector<float> x = random_vector(1), other = random_vector(2);
  std::vector<float> y;
  for (std::size_t i = 0; i < x.size(); ++i) y.push_back(0.6F * x[i] + 0.8F * other[i]);
  double sum = 0, squares = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const RandomProjection projection(kLength, kWidth, seed);
    const double found = product(project(projection, x), project(projection, y));
    sum += found;
    squares += found * found;
  }
  const double mean = sum / kSeeds, variance = squares / kSeeds - mean * mean, bound = (1 + 0.36) / kWidth;
  EXPECT_NEAR(mean, product(x, y), 4 * std::sqrt(bound / kSeeds));
  EXPECT_LT(variance, 1.4 * bound);
  EXPECT_GT(variance, 0.6 * bound);
}

// Where all elements have one sign, those that share a place would add up without signs of their own: to L / K instead of 1.
TEST(RandomProjection, ElementsThatShareAPlaceCancel) {
  constexpr std::uint64_t kSeeds = 400;
  const std::vector<float> x(kLength, static_cast<float>(1 / std::sqrt(kLength)));
  double sum = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    const std::vector<double> projected = project(RandomProjection(kLength, kWidth, seed), x);
    sum += product(projected, projected);
  }
  EXPECT_NEAR(sum / kSeeds, 1, 4 * std::sqrt(2.0 / kWidth / kSeeds));
}

TEST(RandomProjection, IsLinearAndTakesPieces) {
  const RandomProjection projection(kLength, kWidth, 3);
  const std::vector<float> x = random_vector(4);
  std::vector<double> pieces(kWidth);
  projection.add(std::span(x).subspan(1000), 1000, pieces);
  projection.add(std::span(x).first(1000), 0, pieces);
  const std::vector<double> whole = project(projection, x);
  for (std::size_t k = 0; k < whole.size(); ++k) EXPECT_NEAR(pieces[k], whole[k], 1e-9);
}

TEST(RandomProjection, IsAFunctionOfTheSeed) {
  const std::vector<float> x = random_vector(5);
  EXPECT_EQ(project({kLength, kWidth, 6}, x), project({kLength, kWidth, 6}, x));
  EXPECT_NE(project({kLength, kWidth, 6}, x), project({kLength, kWidth, 7}, x));
}

}  // namespace
}  // namespace metarm
