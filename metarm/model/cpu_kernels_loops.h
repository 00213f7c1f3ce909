// The loops behind cpu_kernels.h, for one instruction set: a source file defines METARM_VECTOR_FLOATS (floats in a register),
// METARM_TILE_ROWS (rows of a product that stay in registers), METARM_TILES where it has AMX's, METARM_KERNELS (the name of its table) and
// METARM_KERNELS_NAME, and includes this. All but the table is local to that file, so that the linker never mixes code of two instruction
// sets.
#pragma once

#include <cstddef>

#ifdef METARM_TILES
#include "metarm/model/cpu_attention_amx.h"
#include "metarm/model/cpu_panel_amx.h"
#endif
#include "metarm/model/cpu_attention_loops.h"
#include "metarm/model/cpu_decode_loops.h"
#include "metarm/model/cpu_panel_loops.h"
#include "metarm/model/cpu_row_loops.h"
#include "metarm/model/cpu_weight_loops.h"

namespace metarm {
namespace {

template <class Element>
constexpr CpuKernelsOf<Element> make_kernels() {
  return {rms_norm<Element>, rms_norm_backward<Element>, silu_gate<Element>,          silu_gate_backward<Element>,
          rotate<Element>,   attention<Element>,         attention_backward<Element>, attention_of_branches<Element>};
}
#ifdef METARM_TILES
template <>
constexpr CpuKernelsOf<Bfloat16Bits> make_kernels() {
  using Element = Bfloat16Bits;
  return {rms_norm<Element>, rms_norm_backward<Element>, silu_gate<Element>,          silu_gate_backward<Element>,
          rotate<Element>,   attention_by_tiles,         attention_backward_by_tiles, attention_of_branches<Element>};
}
#else
constexpr std::nullptr_t multiply_pairs = nullptr;
#endif

}  // namespace

extern const CpuKernels METARM_KERNELS;
const CpuKernels METARM_KERNELS = {METARM_KERNELS_NAME,
                                   make_kernels<float>(),
                                   make_kernels<Bfloat16Bits>(),
                                   exponentials,
                                   kColumns,
                                   multiply_panel<float>,
                                   multiply_panel<Bfloat16Bits>,
                                   multiply_panel<std::int8_t>,
                                   multiply_pairs,
                                   round_weights,
                                   shift_weights,
                                   add_gradient};

}  // namespace metarm
