#include "metarm/meta/meta_direction.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

namespace metarm {

namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kEpsilon = 1e-8;

double correction(double beta, std::int64_t step) { return 1 - std::pow(beta, static_cast<double>(step + 1)); }

// A zero gradient has no direction: the step is 0.
double length(const Share& share, const at::Tensor& v) { return std::max(share.length(v), 1e-30); }

}  // namespace

MetaDirection::MetaDirection(MetaScale scale, const FlatTensors& weights, const Share& share) : scale_(scale), share_(share) {
  if (scale == MetaScale::adam)
    for (const char* name : {"meta.first_moment", "meta.second_moment"})
      state_.emplace_back(name, at::zeros({share.part().size()}, weights.flat().options()));
}

MetaDirection::Moments MetaDirection::moments(const at::Tensor& v, std::int64_t step) const {
  const at::Tensor first = (state_[0].second * kBeta1).add_(v, 1 - kBeta1).div_(correction(kBeta1, step));
  const at::Tensor second = (state_[1].second * kBeta2).addcmul_(v, v, 1 - kBeta2).div_(correction(kBeta2, step));
  return {first, second.sqrt().add_(kEpsilon)};
}

MetaDirection::Direction MetaDirection::direction(const at::Tensor& v, std::int64_t step) const {
  const at::NoGradGuard no_grad;
  switch (scale_) {
    case MetaScale::absolute: return {v, 1};
    case MetaScale::normalized: return {v, 1 / length(share_, v)};
    case MetaScale::adam: {
      const Moments at_v = moments(v, step);
      return {at_v.first.div(at_v.root), 1};
    }
  }
  return {v, 1};
}

at::Tensor MetaDirection::transposed_derivative(const at::Tensor& v, const at::Tensor& g, std::int64_t step) const {
  const at::NoGradGuard no_grad;
  switch (scale_) {
    case MetaScale::absolute: return g;
    case MetaScale::normalized: {
      const double norm = length(share_, v);
      const at::Tensor unit = v / norm;
      return (g - unit * share_.dot(unit, g)) / norm;
    }
    case MetaScale::adam: {
      const Moments at_v = moments(v, step);
      // d√ŝ/dv = (1 − β2) v / (c2 √ŝ); where √ŝ is 0, so is v.
      const at::Tensor root_slope = v * ((1 - kBeta2) / correction(kBeta2, step)) / (at_v.root - kEpsilon).clamp_min(1e-30);
      return g * ((1 - kBeta1) / correction(kBeta1, step) / at_v.root - at_v.first * root_slope / at_v.root.square());
    }
  }
  return g;
}

void MetaDirection::advance(const at::Tensor& v) {
  if (scale_ != MetaScale::adam) return;
  const at::NoGradGuard no_grad;
  const double norm = share_.length(v);
  if (!std::isfinite(static_cast<float>(norm * norm))) return;  // it would stay in the moments for good
  state_[0].second.mul_(kBeta1).add_(v, 1 - kBeta1);
  state_[1].second.mul_(kBeta2).addcmul_(v, v, 1 - kBeta2);
}

}  // namespace metarm
