// Random streams that are functions of (seed, purpose, a, b): no state to save, so that a resumed run, a larger batch or another
// number of threads draws the same numbers. Counter-based (a 64-bit mix of a Weyl sequence, SplitMix64).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace metarm {

// A well-mixed 64-bit key for (seed, purpose, a, b); equal arguments give equal keys on every machine.
std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose, std::uint64_t a = 0, std::uint64_t b = 0);

std::uint64_t mix64(std::uint64_t x);  // a bijection of 64 bits (SplitMix64's finaliser)

class RandomStream {
 public:
  explicit RandomStream(std::uint64_t key) : state_(key) {}
  RandomStream(std::uint64_t seed, std::string_view purpose, std::uint64_t a = 0, std::uint64_t b = 0)
      : state_(derive_seed(seed, purpose, a, b)) {}

  std::uint64_t next();                      // uniform over 64 bits
  double uniform();                          // [0, 1), 53 bits
  double normal();                           // N(0, 1)
  std::uint64_t below(std::uint64_t bound);  // uniform over [0, bound), without bias; bound > 0

 private:
  std::uint64_t state_;
};

std::vector<std::int64_t> permutation(std::int64_t size, RandomStream stream);  // Fisher-Yates of 0..size-1

}  // namespace metarm
