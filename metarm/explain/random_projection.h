// Long vectors as short ones with nearly the same inner products: each element goes, with a random sign, to one of K places (CountSketch,
// Charikar, Chen and Farach-Colton 2002).
//
//   (P x)_k = Σ over elements e with place(e) = k of sign(e) x_e,   E <P x, P y> = <x, y>,   variance at most 2 |x|² |y|² / K
//
// as with a Gaussian matrix of K rows, but in time O(length). Cosines keep a standard deviation of about 1 / sqrt(K).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace metarm {

class RandomProjection {
 public:
  // Of vectors of `length` elements to `width` ones; places and signs are functions of (seed, element). Memory: 4 bytes an element.
  RandomProjection(std::int64_t length, std::int64_t width, std::uint64_t seed);

  std::int64_t width() const { return width_; }
  // Adds the elements from `first` on, whose values these are.
  void add(std::span<const float> values, std::int64_t first, std::span<double> projected) const;

 private:
  std::int64_t width_;
  std::vector<std::uint32_t> places_;  // twice the place, plus 1 for a minus sign
};

}  // namespace metarm
