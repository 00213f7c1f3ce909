// Weights laid out for generation on the CPU, where a few rows at a time meet all of a model: torch would lay out each matrix anew in every
// product. A matrix [out, in] is cut into panels of as many outputs as the kernel's tile has columns, each [in, columns].
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <utility>

#include "metarm/model/weights.h"

namespace metarm {

enum class PackedType {
  float32,
  bfloat16,        // exact for weights that are
  bfloat16_pairs,  // the same for AMX's tiles, which multiply rows of bfloat16 by them; where the processor has_pairs()
  int8,            // each output by a scale of its own, to the nearest of 255 steps
};
bool has_pairs();

class PackedMatrix {
 public:
  PackedMatrix(const at::Tensor& weight, PackedType type);
  // x Wᵀ for rows x [N, in], summed in float32 -> [N, out] in the type asked for. Rows that pairs multiply are rounded to bfloat16.
  at::Tensor product(const at::Tensor& x, at::ScalarType type) const;

 private:
  at::Tensor panel_products(const at::Tensor& x) const;
  at::Tensor pair_products(const at::Tensor& x) const;

  std::int64_t out_;
  at::Tensor panels_;  // [panels, in, columns], of the packed type; pairs: [panels, in / 2, columns, 2]
  at::Tensor scale_;   // [panels, columns], of int8
};

class PackedWeights {
 public:
  // Packs the linear layers and the head of a language model, and takes those that nothing else reads out of `weights`.
  PackedWeights(Weights& weights, bool tied_embeddings, PackedType type);
  const PackedMatrix& at(Slot slot, std::int64_t layer = 0) const { return matrices_.at({slot, layer}); }

 private:
  std::map<std::pair<Slot, std::int64_t>, PackedMatrix> matrices_;
};

}  // namespace metarm
