#include "metarm/train/share.h"

#include <ATen/ATen.h>

#include <array>
#include <cmath>

namespace metarm {

namespace {

std::span<float> floats(const at::Tensor& tensor) { return {tensor.mutable_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())}; }

double summed(Ranks& ranks, double value) {
  std::array<double, 1> sum = {value};
  ranks.sum(sum);
  return sum[0];
}

}  // namespace

double Share::length(const at::Tensor& part) const {
  const double of_part = part.norm().item<double>();
  return std::sqrt(summed(*ranks_, of_part * of_part));
}

double Share::dot(const at::Tensor& a_part, const at::Tensor& b_part) const {
  return summed(*ranks_, at::dot(a_part, b_part).item<double>());
}

void Share::complete(const at::Tensor& whole) const {
  if (ranks_->size() > 1) ranks_->gather_parts(floats(whole));
}

at::Tensor Share::whole(const at::Tensor& part) const {
  if (ranks_->size() == 1) return part;
  const bool in_place = part.storage_offset() == part_.begin && part.storage().nbytes() == static_cast<std::size_t>(total_) * sizeof(float);
  const at::Tensor made = in_place ? part.as_strided({total_}, {1}, 0) : at::empty({total_}, part.options());
  if (!in_place) own(made).copy_(part);
  complete(made);
  return made;
}

at::Tensor Share::whole_on_first(const at::Tensor& part) const {
  if (ranks_->size() == 1) return part;
  const at::Tensor made = ranks_->first() ? at::empty({total_}, part.options()) : at::Tensor();
  ranks_->gather_to_first(floats(part), made.defined() ? floats(made) : std::span<float>());
  return made;
}

}  // namespace metarm
