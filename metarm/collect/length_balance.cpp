#include "metarm/collect/length_balance.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

struct Bucket {
  std::vector<std::size_t> longer, shorter;  // by the chosen response
};

std::vector<Bucket> make_buckets(std::span<const PairLength> pairs, std::int64_t count) {
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < pairs.size(); ++i)
    if (pairs[i].difference != 0) order.push_back(i);
  const auto size = [&](std::size_t i) { return std::abs(pairs[i].difference); };
  std::ranges::stable_sort(order, {}, size);

  std::vector<Bucket> buckets(static_cast<std::size_t>(count));
  std::size_t first_equal = 0;  // the rank of the first with the same difference
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    if (size(order[rank]) != size(order[first_equal])) first_equal = rank;
    Bucket& bucket = buckets[first_equal * buckets.size() / order.size()];
    (pairs[order[rank]].difference > 0 ? bucket.longer : bucket.shorter).push_back(order[rank]);
  }
  return buckets;
}

double weight_of(std::span<const PairLength> pairs, const std::vector<std::size_t>& side) {
  return std::accumulate(side.begin(), side.end(), 0.0, [&](double sum, std::size_t i) { return sum + pairs[i].weight; });
}

void set_factors(std::vector<double>& factors, const std::vector<std::size_t>& side, double factor) {
  for (const std::size_t i : side) factors[i] = factor;
}

void weigh(std::span<const PairLength> pairs, const Bucket& bucket, std::vector<double>& factors) {
  const double longer = weight_of(pairs, bucket.longer), shorter = weight_of(pairs, bucket.shorter);
  const bool both = longer > 0 && shorter > 0;
  set_factors(factors, bucket.longer, both ? (longer + shorter) / 2 / longer : 0);
  set_factors(factors, bucket.shorter, both ? (longer + shorter) / 2 / shorter : 0);
}

void draw(const Bucket& bucket, std::uint64_t seed, std::vector<double>& factors) {
  const std::size_t kept = std::min(bucket.longer.size(), bucket.shorter.size());
  for (std::vector<std::size_t> side : {bucket.longer, bucket.shorter}) {
    std::ranges::stable_sort(side, {}, [&](std::size_t i) { return derive_seed(seed, "length balance", i); });
    side.erase(side.begin(), side.begin() + static_cast<std::ptrdiff_t>(kept));
    set_factors(factors, side, 0);
  }
}

}  // namespace

std::vector<double> balance_lengths(std::span<const PairLength> pairs, LengthBalance balance, std::int64_t buckets, std::uint64_t seed) {
  std::vector<double> factors(pairs.size(), 1);
  if (balance == LengthBalance::none) return factors;
  if (buckets < 1) fail_internal("balance_lengths: expected a bucket");
  for (const Bucket& bucket : make_buckets(pairs, buckets)) {
    if (balance == LengthBalance::weight)
      weigh(pairs, bucket, factors);
    else
      draw(bucket, seed, factors);
  }
  return factors;
}

double longer_share(std::span<const PairLength> pairs) {
  double longer = 0, all = 0;
  for (const PairLength& pair : pairs) {
    if (pair.difference == 0) continue;
    all += pair.weight;
    if (pair.difference > 0) longer += pair.weight;
  }
  return all > 0 ? longer / all : std::numeric_limits<double>::quiet_NaN();
}

double effective_share(std::span<const PairLength> pairs) {
  double count = 0, sum = 0, squares = 0;
  for (const PairLength& pair : pairs) {
    count += pair.weight > 0 ? 1 : 0;
    sum += pair.weight;
    squares += pair.weight * pair.weight;
  }
  return squares > 0 ? sum * sum / (count * squares) : 0;
}

}  // namespace metarm
