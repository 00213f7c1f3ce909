#include "metarm/base/random.h"

#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

namespace metarm {
namespace {

constexpr std::uint64_t kWeylStep = 0x9e3779b97f4a7c15;

std::uint64_t hash_text(std::string_view text) {  // FNV-1a
  std::uint64_t hash = 0xcbf29ce484222325;
  for (unsigned char byte : text) hash = (hash ^ byte) * 0x100000001b3;
  return hash;
}

}  // namespace

std::uint64_t mix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

std::uint64_t derive_seed(std::uint64_t seed, std::string_view purpose, std::uint64_t a, std::uint64_t b) {
  std::uint64_t key = 0;
  for (std::uint64_t part : {seed, hash_text(purpose), a, b}) key = mix64((key ^ part) + kWeylStep);
  return key;
}

std::uint64_t RandomStream::next() { return mix64(state_ += kWeylStep); }

double RandomStream::uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }

double RandomStream::normal() {  // Box-Muller; one of the two values, so that nothing is kept between calls
  const double radius = std::sqrt(-2 * std::log(1 - uniform()));
  return radius * std::cos(2 * std::numbers::pi * uniform());
}

std::uint64_t RandomStream::below(std::uint64_t bound) {
  const std::uint64_t biased = -bound % bound;  // 2^64 mod bound: the draws below it are refused
  std::uint64_t draw = next();
  while (draw < biased) draw = next();
  return draw % bound;
}

std::vector<std::int64_t> permutation(std::int64_t size, RandomStream stream) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), 0);
  for (std::size_t left = order.size(); left > 1; --left) std::swap(order[left - 1], order[stream.below(left)]);
  return order;
}

}  // namespace metarm
