#include "metarm/explain/random_projection.h"

#include "metarm/base/random.h"

namespace metarm {

RandomProjection::RandomProjection(std::int64_t length, std::int64_t width, std::uint64_t seed) : width_(width) {
  const std::uint64_t key = derive_seed(seed, "random projection");
  places_.reserve(static_cast<std::size_t>(length));
  for (std::int64_t element = 0; element < length; ++element) {
    const std::uint64_t bits = mix64(key + static_cast<std::uint64_t>(element));
    const std::uint64_t place = ((bits >> 32) * static_cast<std::uint64_t>(width)) >> 32;
    places_.push_back(static_cast<std::uint32_t>(2 * place + (bits & 1)));
  }
}

void RandomProjection::add(std::span<const float> values, std::int64_t first, std::span<double> projected) const {
  const std::uint32_t* place = places_.data() + first;
  for (const float value : values) {
    projected[*place / 2] += *place % 2 == 0 ? value : -value;
    ++place;
  }
}

}  // namespace metarm
