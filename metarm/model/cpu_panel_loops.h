// Products of rows with a panel of a packed weight (cpu_kernels_loops.h).
#pragma once

#include <cstdint>

#include "metarm/model/cpu_vectors.h"

namespace metarm {
namespace {

constexpr std::int64_t kPanelDepth = 256;  // of a panel at once: stays in the nearest cache from one tile of rows to the next

template <class Weight>
void multiply_panel(const PanelTask& task, const Weight* panel, const float* scale) {
  for (std::int64_t k = 0; k < task.depth; k += kPanelDepth) {
    const std::int64_t depth = k + kPanelDepth < task.depth ? kPanelDepth : task.depth - k;
    multiply_of(ProductOf<Weight>{task.rows, kColumns, depth, task.x + k, task.x_stride, 1, panel + k * kColumns, kColumns, task.out,
                                  task.out_stride, k > 0});
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
