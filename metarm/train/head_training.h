// What is trained in the place of the reward head, on the features that the head reads, and becomes an ordinary head whenever the model is
// read or saved:
//
//   batch-norm    reward = v · (f − μ) / √(σ² + ε), μ and σ² of the step's features (Ioffe & Szegedy 2015, arXiv 1502.03167).
//                 Head: v / √(s² + ε) with the running variance s²; all rewards fall by one number, the head at the running mean.
//   bottleneck    code z = M f + σ(f) · noise, log σ²(f) = S f + s, reward = w · z; the loss grows by β · what the code tells
//                 (head_losses.h). Head: w M.
//   length-head   reward = (w + u) · f while it is trained, with a penalty that gives length to u (head_losses.h). Head: w.
//
// These are functions of all features of a step together, so the step is not divided among ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "metarm/base/options.h"
#include "metarm/model/weights.h"

namespace metarm {

enum class HeadTrainingKind { plain, batch_norm, bottleneck, length_head };
template <>
struct EnumNames<HeadTrainingKind> {
  static constexpr std::pair<HeadTrainingKind, const char*> values[] = {{HeadTrainingKind::plain, "plain"},
                                                                        {HeadTrainingKind::batch_norm, "batch-norm"},
                                                                        {HeadTrainingKind::bottleneck, "bottleneck"},
                                                                        {HeadTrainingKind::length_head, "length-head"}};
};

struct HeadTrainingOptions {
  HeadTrainingKind head_training = HeadTrainingKind::plain;
  double bottleneck_weight = 0.001;     // β
  std::int64_t bottleneck_width = 128;  // K
  double length_weight = 1;             // of the penalty

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.head_training,
          {.name = "head-training",
           .help = "What is trained in the place of the head, and saved as one: plain: itself; batch-norm: behind a batch "
                   "normalization; bottleneck: behind a noisy code [InfoRM]; length-head: beside one that takes the "
                   "length [ODIN]."});
    visit(self.bottleneck_weight, {.name = "bottleneck-weight",
                                   .help = "Weight of what the code tells of a text, in nats, for --head-training bottleneck.",
                                   .min = 0});
    visit(self.bottleneck_width, {.name = "bottleneck-width", .help = "Numbers in the code.", .min = 1, .max = 65536});
    visit(self.length_weight, {.name = "length-weight", .help = "Weight of the penalty for --head-training length-head.", .min = 0});
  }
};

// Of a step: rewards while it is trained, float32 [2 n], chosen and rejected of each pair in turn, and what is added to the mean loss.
struct TrainedRewards {
  at::Tensor reward_B, penalty;
};

class HeadTraining {
 public:
  virtual ~HeadTraining() = default;

  // Tensors beside the model's own, in its flat vector; those with rate 0 are moved by the training itself.
  virtual std::vector<TensorInfo> tensors() const = 0;
  virtual double rate(std::size_t tensor) const { return static_cast<void>(tensor), 1; }
  // Values to begin with, of the head [1, D] float32 that there is: rewards stay as they are, but for batch-norm's scale.
  virtual void begin(std::span<const at::Tensor> tensors, const at::Tensor& head, std::uint64_t seed) const = 0;
  // feature: float32 [2 n, D]; length: float32 [2 n], tokens of the responses; tensors: as read by the step.
  virtual TrainedRewards rewards(const at::Tensor& feature_BD, const at::Tensor& length_B, std::span<const at::Tensor> tensors,
                                 std::uint64_t step_seed) const = 0;
  // After the step's backward pass: moves what no gradient moves.
  virtual void advance(const at::Tensor& feature_BD, std::span<const at::Tensor> masters) const {
    static_cast<void>(feature_BD), static_cast<void>(masters);
  }
  // The ordinary head, float32 [1, D].
  virtual at::Tensor head(std::span<const at::Tensor> masters) const = 0;
};

// Null for `plain`.
std::unique_ptr<HeadTraining> make_head_training(const HeadTrainingOptions& options, std::int64_t width);

}  // namespace metarm
