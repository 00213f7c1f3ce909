#include "metarm/explain/influence.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace metarm {

namespace {

constexpr std::int64_t kRows = 64;  // of pairs against all training pairs at once

// The largest of `measure` that are above 0.
std::vector<Influence> strongest(const at::Tensor& measure_B, const at::Tensor& cosine_B, const at::Tensor& dot_B, std::int64_t top) {
  const at::Tensor places = std::get<1>(at::topk(measure_B, std::min(top, measure_B.size(0)))).contiguous();
  const auto measure = measure_B.accessor<double, 1>(), cosine = cosine_B.accessor<double, 1>(), dot = dot_B.accessor<double, 1>();
  std::vector<Influence> found;
  for (std::int64_t k = 0; k < places.size(0); ++k) {
    const std::int64_t pair = places.const_data_ptr<std::int64_t>()[k];
    if (measure[pair] > 0) found.push_back({static_cast<std::size_t>(pair), cosine[pair], dot[pair]});
  }
  return found;
}

}  // namespace

PairGradients pair_gradients(const at::Tensor& slope_BD, const at::Tensor& difference_B, const std::vector<double>& margins,
                             const std::vector<double>& weights) {
  const at::Tensor slope = slope_BD.to(at::kDouble);
  const at::Tensor scale_B =
      at::tensor(weights, at::kDouble) * at::sigmoid(at::tensor(margins, at::kDouble) - difference_B.to(at::kDouble));
  const at::Tensor norm_B = slope.square().sum(1).sqrt();
  const at::Tensor direction_BD = -slope / norm_B.clamp_min(1e-30).unsqueeze(1) * at::sign(scale_B).unsqueeze(1);
  return {direction_BD.to(at::kFloat), scale_B * norm_B};
}

PairGradients head_gradients(const at::Tensor& hidden_BD, const at::Tensor& head_D, const std::vector<double>& margins,
                             const std::vector<double>& weights) {
  const at::Tensor sides = hidden_BD.reshape({-1, 2, hidden_BD.size(1)}).to(at::kDouble);
  const at::Tensor apart_BD = sides.select(1, 0) - sides.select(1, 1);
  return pair_gradients(apart_BD, at::mv(apart_BD, head_D.reshape({-1}).to(at::kCPU, at::kDouble)), margins, weights);
}

std::vector<Influences> find_influences(const PairGradients& explained, const PairGradients& training, InfluenceMeasure by,
                                        std::int64_t top) {
  std::vector<Influences> all;
  const at::Tensor training_DB = training.direction_BD.t();
  for (std::int64_t begin = 0; begin < explained.length_B.size(0); begin += kRows) {
    const std::int64_t rows = std::min(kRows, explained.length_B.size(0) - begin);
    const at::Tensor cosines = at::mm(explained.direction_BD.narrow(0, begin, rows), training_DB).to(at::kDouble).clamp_(-1, 1);
    for (std::int64_t row = 0; row < rows; ++row) {
      const at::Tensor cosine_B = cosines[row], dot_B = cosine_B * training.length_B * explained.length_B[begin + row];
      const at::Tensor& measure_B = by == InfluenceMeasure::cosine ? cosine_B : dot_B;
      all.push_back({strongest(measure_B, cosine_B, dot_B, top), strongest(-measure_B, cosine_B, dot_B, top)});
    }
  }
  return all;
}

}  // namespace metarm
