#include "metarm/model/dropout.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include "metarm/base/random.h"

namespace metarm {

std::vector<std::uint64_t> path_keys(const Batch& batch) {
  std::vector<std::uint64_t> keys(batch.tokens.size());
  for (const Segment& segment : batch.segments) {
    std::uint64_t key = segment.prefix_length() > 0 ? keys[static_cast<std::size_t>(segment.prefix_end - 1)] : 0;
    for (auto i = static_cast<std::size_t>(segment.begin); i < static_cast<std::size_t>(segment.end); ++i)
      keys[i] = key = derive_seed(key, "token", static_cast<std::uint64_t>(batch.tokens[i]));
  }
  return keys;
}

at::Tensor dropout_mask(std::span<const std::uint64_t> keys, std::int64_t width, double share, std::uint64_t seed) {
  constexpr double kRange = 4294967296.0;  // a draw of 64 bits serves two elements
  constexpr std::int64_t kTokensAThread = 16;
  const auto dropped_below = static_cast<std::uint32_t>(share * kRange);
  const auto kept = static_cast<float>(1 / (1 - share));
  at::Tensor mask_ND = at::empty({std::ssize(keys), width}, at::kFloat);
  float* const mask = mask_ND.data_ptr<float>();
  at::parallel_for(0, std::ssize(keys), kTokensAThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      RandomStream random(seed, "dropout", keys[static_cast<std::size_t>(token)]);
      for (std::int64_t i = 0; i < width; i += 2) {
        const std::uint64_t draw = random.next();
        mask[token * width + i] = static_cast<std::uint32_t>(draw) < dropped_below ? 0 : kept;
        if (i + 1 < width) mask[token * width + i + 1] = static_cast<std::uint32_t>(draw >> 32) < dropped_below ? 0 : kept;
      }
    }
  });
  return mask_ND;
}

}  // namespace metarm
