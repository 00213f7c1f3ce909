// Which training pairs pull a pair's reward difference up or down, by the gradients of the pairs' losses with respect to some weights w.
//
// Pair i has the loss v · -log sigmoid(d - margin), d the difference of its two rewards, and so the gradient
//
//   g_i = -v sigmoid(margin - d) ∂d/∂w
//
// For a pair q that is to be explained (margin 0, v = 1):
//
//   dot      <g_q, g_i>: a step of gradient descent on pair i lowers the loss of q by so much, per unit of learning rate (TracIn at one
//            checkpoint, Pruthi et al., arXiv 2002.08484)
//   cosine   the same for gradients of length 1, so that no pair is everywhere because its gradient is long (Hanawa et al., arXiv
//            2006.04528); 1 for a copy of q, -1 for q with its labels exchanged
//
// Above 0, training pair i pulls the reward difference of q up; below 0, down.
//
// The weights are those of the reward head, for which ∂d/∂w is the difference of the two hidden states that it reads, exactly and without a
// backward pass; or an adapter's LoRA matrices (lora_gradients.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metarm {

struct PairGradients {
  at::Tensor direction_BD;  // float32, of length 1; 0 for a gradient that is 0
  at::Tensor length_B;      // float64
};
// slope: ∂d/∂w [B, D]; difference: d [B]; a margin and a weight a pair.
PairGradients pair_gradients(const at::Tensor& slope_BD, const at::Tensor& difference_B, const std::vector<double>& margins,
                             const std::vector<double>& weights);
// Of the head: hidden float32 [2 B, D], chosen and rejected of each pair in turn; head [1, D] or [D].
PairGradients head_gradients(const at::Tensor& hidden_BD, const at::Tensor& head_D, const std::vector<double>& margins,
                             const std::vector<double>& weights);

enum class InfluenceWeights { head, lora };
enum class InfluenceMeasure { cosine, dot };
struct Influence {
  std::size_t pair;  // index among the training pairs
  double cosine, dot;
};
struct Influences {
  std::vector<Influence> up, down;  // the strongest first
};
// For each pair of `explained` the `top` training pairs each way. Exact; cost O(pairs · training pairs · D), memory that of the training
// pairs' gradients.
std::vector<Influences> find_influences(const PairGradients& explained, const PairGradients& training, InfluenceMeasure by,
                                        std::int64_t top);

}  // namespace metarm
