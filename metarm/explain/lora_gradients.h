// Gradients of reward differences with respect to an adapter's LoRA matrices, A and B of every module: what a pair teaches the layers,
// where the head's gradient knows its last hidden states alone. They are long, so each is kept as its random projection
// (random_projection.h), as in TRAK (Park et al., arXiv 2303.14186) and LESS (Xia et al., arXiv 2402.04333).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/explain/random_projection.h"
#include "metarm/model/reward_model.h"

namespace metarm {

class LoraGradients {
 public:
  // `reward_model`: with updates, whose matrices become leaves. width 0: no projection.
  LoraGradients(RewardModel reward_model, std::int64_t width, std::uint64_t seed);

  struct Slope {
    double difference;             // of the two rewards
    std::vector<double> gradient;  // its own, projected
  };
  // Of one pair's chosen and rejected sequence: a forward and a backward pass of one token tree.
  Slope slope(const std::vector<TokenIds>& pair) const;
  std::int64_t width() const { return projection_ ? projection_->width() : length_; }

 private:
  RewardModel reward_model_;
  std::vector<at::Tensor> leaves_;
  std::int64_t length_ = 0;
  std::optional<RandomProjection> projection_;
};

}  // namespace metarm
