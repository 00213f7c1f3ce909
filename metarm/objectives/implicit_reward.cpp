#include "metarm/objectives/implicit_reward.h"

#include <ATen/ATen.h>

namespace metarm {

at::Tensor implicit_rewards(const at::Tensor& log_prob_B, const at::Tensor& reference_log_prob_B, double beta) {
  return (log_prob_B - reference_log_prob_B) * beta;
}

}  // namespace metarm
