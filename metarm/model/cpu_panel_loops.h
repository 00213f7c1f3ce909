// Products of rows with a panel of a packed weight (cpu_kernels_loops.h).
#pragma once

#include <cstdint>
#include <type_traits>

#include "metarm/model/cpu_vectors.h"

namespace metarm {
namespace {

constexpr std::int64_t kPanelDepth = 4096 / kColumns;  // of a panel at once: stays in the nearest cache from one tile of rows to the next

template <class Weight>
void multiply_panel(const PanelTask& task, const Weight* panel, const float* scale) {
  for (std::int64_t k = 0; k < task.depth; k += kPanelDepth) {
    const std::int64_t depth = k + kPanelDepth < task.depth ? kPanelDepth : task.depth - k;
    const auto multiply_part = [&](const auto* part) {
      using Part = std::remove_cvref_t<decltype(*part)>;
      multiply_of(
          ProductOf<Part>{task.rows, kColumns, depth, task.x + k, task.x_stride, 1, part, kColumns, task.out, task.out_stride, k > 0});
    };
    if (std::is_same_v<Weight, float> || task.rows <= kTileRows) {
      multiply_part(panel + k * kColumns);
      continue;
    }
    float wide[kPanelDepth * kColumns];  // once for all tiles of rows
    for (std::int64_t i = 0; i < depth * kColumns; i += kWide) store(wide + i, load(panel + k * kColumns + i));
    multiply_part(static_cast<const float*>(wide));
  }
  if (scale == nullptr) return;
  for (std::int64_t row = 0; row < task.rows; ++row)
    for (std::int64_t i = 0; i < kColumns; i += kWide) {
      float* const to = task.out + row * task.out_stride + i;
      store(to, load(to) * load(scale + i));
    }
}

}  // namespace
}  // namespace metarm
