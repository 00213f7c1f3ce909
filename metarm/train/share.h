// What a rank keeps of flat float32 vectors (weights, gradients, moments): its part of each. Gradients are summed into the parts, the
// optimizer's moments exist and are stepped there, and the new weights are made whole again. With one rank the part is the whole.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "metarm/base/ranks.h"

namespace metarm {

class Share {
 public:
  Share(Ranks& ranks, std::int64_t total) : ranks_(&ranks), total_(total), part_(part_of(total, ranks.rank(), ranks.size())) {}

  const Part& part() const { return part_; }
  std::int64_t total() const { return total_; }
  at::Tensor own(const at::Tensor& whole) const { return whole.narrow(0, part_.begin, part_.size()); }  // a view of [total]

  // Every rank calls these in the same order, with its part.
  double length(const at::Tensor& part) const;  // of the whole vector
  double dot(const at::Tensor& a_part, const at::Tensor& b_part) const;
  void complete(const at::Tensor& whole) const;             // [total]: each rank has its part, and gets the others'
  at::Tensor whole(const at::Tensor& part) const;           // [total] on every rank; a part that is a view by own() is completed in place
  at::Tensor whole_on_first(const at::Tensor& part) const;  // [total] on rank 0, undefined elsewhere

 private:
  Ranks* ranks_;
  std::int64_t total_;
  Part part_;
};

}  // namespace metarm
