// Master weights to bfloat16, and gradients in bfloat16 to their float32 sum (cpu_kernels_loops.h).
#pragma once

#include "metarm/model/cpu_vectors.h"

namespace metarm {
namespace {

// With noise, 16 random bits below the part that bfloat16 keeps: the carry rounds up with the probability of what a cast drops.
inline Shorts rounded_weight(Vec value, const std::uint16_t* noise) {
  if (noise == nullptr) return rounded(value);
  const Shorts bits = *reinterpret_cast<const LooseShorts*>(noise);
  return __builtin_convertvector((reinterpret_cast<Bits>(value) + __builtin_convertvector(bits, Bits)) >> 16, Shorts);
}
inline Bfloat16Bits rounded_weight(float value, const std::uint16_t* noise) {
  Bfloat16Bits kept;
  if (noise == nullptr)
    store_one(&kept, value);
  else
    kept.bits = static_cast<std::uint16_t>((__builtin_bit_cast(std::uint32_t, value) + *noise) >> 16);
  return kept;
}

void round_weights(const WeightTask& task, Bfloat16Bits* out) {
  const auto noise_at = [&](std::int64_t i) { return task.noise == nullptr ? nullptr : task.noise + i; };
  sweep(
      task.count,
      [&](std::int64_t i) {
        const Vec value = task.direction == nullptr ? load(task.x + i) : load(task.x + i) + load(task.direction + i) * task.scale;
        *reinterpret_cast<LooseShorts*>(out + i) = rounded_weight(value, noise_at(i));
      },
      [&](std::int64_t i) {
        out[i] = rounded_weight(task.direction == nullptr ? task.x[i] : task.x[i] + task.direction[i] * task.scale, noise_at(i));
      });
}

WeightShift shift_weights(const WeightTask& task, Bfloat16Bits* copy) {
  Vec kept{}, length{};
  float rest_kept = 0, rest_length = 0;
  const auto noise_at = [&](std::int64_t i) { return task.noise == nullptr ? nullptr : task.noise + i; };
  sweep(
      task.count,
      [&](std::int64_t i) {
        const Vec step = load(task.direction + i) * task.scale, before = load(copy + i);
        *reinterpret_cast<LooseShorts*>(copy + i) = rounded_weight(load(task.x + i) + step, noise_at(i));
        kept += (load(copy + i) - before) * step;
        length += step * step;
      },
      [&](std::int64_t i) {
        const float step = task.direction[i] * task.scale, before = load_one(copy + i);
        copy[i] = rounded_weight(task.x[i] + step, noise_at(i));
        rest_kept += (load_one(copy + i) - before) * step;
        rest_length += step * step;
      });
  return {sum_of(kept) + rest_kept, sum_of(length) + rest_length};
}

void add_gradient(const Bfloat16Bits* gradient, std::int64_t count, float* sum) {
  sweep(
      count, [&](std::int64_t i) { store(sum + i, load(sum + i) + load(gradient + i)); },
      [&](std::int64_t i) { sum[i] += load_one(gradient + i); });
}

}  // namespace
}  // namespace metarm
