// Pairs without a length bias: in each bucket of length differences the chosen response is the longer one in half of the pairs, so that
// "longer" says nothing about the label (balancing, one of the interventions of Singhal et al. 2023, arXiv 2310.03716).
//
// Pairs of unequal lengths fall by |difference| into `buckets` buckets of about as many pairs each; equal differences share one. With W₊
// and W₋ the weights of a bucket's pairs whose chosen response is longer or shorter:
//
//   weight  the longer ones' weights are multiplied by (W₊ + W₋) / 2 W₊, the others' by (W₊ + W₋) / 2 W₋: the bucket's weight stays
//   draw    of the side with more pairs, a random choice of as many as the other has stays
//
// A bucket with one side alone cannot be balanced: its pairs are left out. Pairs of equal lengths stay as they are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/base/options.h"

namespace metarm {

enum class LengthBalance { none, weight, draw };
template <>
struct EnumNames<LengthBalance> {
  static constexpr std::pair<LengthBalance, const char*> values[] = {
      {LengthBalance::none, "none"}, {LengthBalance::weight, "weight"}, {LengthBalance::draw, "draw"}};
};

struct PairLength {
  std::int64_t difference;  // characters of the chosen response less those of the rejected one
  double weight;
};

// A factor for each pair's weight; 0: left out. A function of its arguments; `seed` is for draw.
std::vector<double> balance_lengths(std::span<const PairLength> pairs, LengthBalance balance, std::int64_t buckets, std::uint64_t seed);

// The share of the weight of pairs of unequal lengths whose chosen response is longer; NaN without any.
double longer_share(std::span<const PairLength> pairs);

// (Σ w)² / (n Σ w²) of the n pairs with a weight: 1 where all count alike; 0 without any.
double effective_share(std::span<const PairLength> pairs);

}  // namespace metarm
