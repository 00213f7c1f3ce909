// Which training pairs pull a pair's reward difference up or down, as far as the reward head tells.
//
// Pair i with the hidden states h_w, h_l of its two sequences has the loss v · -log sigmoid(d - margin), d = <head, h_w - h_l>, and so the
// gradient with respect to the head
//
//   g_i = -v sigmoid(margin - d) (h_w - h_l)
//
// exactly, without a backward pass. For a pair q that is to be explained (margin 0, v = 1):
//
//   dot      <g_q, g_i>: a step of gradient descent on pair i lowers the loss of q by so much, per unit of learning rate (TracIn's last
//            layer at one checkpoint, Pruthi et al., arXiv 2002.08484)
//   cosine   the same for gradients of length 1, so that no pair is everywhere because its gradient is long (Hanawa et al., arXiv
//            2006.04528); 1 for a copy of q, -1 for q with its labels exchanged
//
// Above 0, training pair i pulls the reward difference of q up; below 0, down.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace metarm {

struct HeadGradients {
  at::Tensor direction_BD;  // float32, of length 1; 0 for a gradient that is 0
  at::Tensor length_B;      // float64
};
// hidden: float32 [2 B, D], chosen and rejected of each pair in turn; head: [1, D] or [D]; a margin and a weight a pair.
HeadGradients head_gradients(const at::Tensor& hidden_BD, const at::Tensor& head_D, const std::vector<double>& margins,
                             const std::vector<double>& weights);

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
std::vector<Influences> find_influences(const HeadGradients& explained, const HeadGradients& training, InfluenceMeasure by,
                                        std::int64_t top);

}  // namespace metarm
