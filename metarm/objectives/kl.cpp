#include "metarm/objectives/kl.h"

#include <ATen/ATen.h>

#include "metarm/base/error.h"

namespace metarm {

at::Tensor kl_estimates(const at::Tensor& log_prob_S, const at::Tensor& reference_log_prob_S, KlEstimator estimator) {
  const at::Tensor d = log_prob_S - reference_log_prob_S;
  switch (estimator) {
    case KlEstimator::k1: return d;
    case KlEstimator::k2: return d.square() / 2;
    case KlEstimator::k3: return at::expm1(-d) + d;
  }
  fail_internal("unknown estimator of KL");
}

}  // namespace metarm
