// Products of rows with a panel of a weight in pairs (cpu_tiles_amx.h).
#pragma once

#include "metarm/model/cpu_tiles_amx.h"

namespace metarm {
namespace {

static_assert(kPairRows == kTile && kPairDepth == kTileDepth && kPairColumns == 2 * kTile);

void multiply_pairs(const PairTask& task, const std::uint32_t* panel) {
  const Tiles tiles;
  multiply({task.rows, kPairColumns, task.depth, task.x, task.depth, panel, kPairColumns, task.out, task.out_stride, false, true});
}

}  // namespace
}  // namespace metarm
