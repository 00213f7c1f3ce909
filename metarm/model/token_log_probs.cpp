#include "metarm/model/token_log_probs.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "metarm/base/error.h"
#include "metarm/model/matrix_product.h"

namespace metarm {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr std::int64_t kLogits = 1 << 23;  // held at once: 32 MB

struct HeadOptions {
  double temperature, softcap;  // softcap 0: none
};

std::int64_t rows_at_once(const at::Tensor& head) { return std::max<std::int64_t>(kLogits / head.size(0), 1); }

// Logits of rows [C, D] as language_logits makes them, over the temperature. `head_factor`: the head as product_factor makes it.
at::Tensor scaled_logits(const at::Tensor& normed_CD, const at::Tensor& head_factor, const HeadOptions& options) {
  at::Tensor z = product(normed_CD, head_factor.t(), at::kFloat);
  if (options.softcap > 0) z = at::tanh(z / options.softcap).mul_(options.softcap);
  return options.temperature == 1 ? z : z.div_(options.temperature);
}

// The logits of a piece are made, reduced to two numbers a row, and forgotten; the backward pass makes them again.
struct HeadLogProbs : torch::autograd::Function<HeadLogProbs> {
  static variable_list forward(AutogradContext* context, const at::Tensor& normed, const at::Tensor& head, const at::Tensor& target_S,
                               double temperature, double softcap) {
    const HeadOptions options{temperature, softcap};
    const at::Tensor factor = product_factor(head);
    at::Tensor log_prob = at::empty({normed.size(0)}, normed.options().dtype(at::kFloat)), entropy = at::empty_like(log_prob),
               log_sum = at::empty_like(log_prob);
    const std::int64_t step = rows_at_once(head);
    for (std::int64_t begin = 0; begin < normed.size(0); begin += step) {
      const std::int64_t end = std::min(begin + step, normed.size(0));
      at::Tensor z = scaled_logits(normed.slice(0, begin, end), factor, options);
      const at::Tensor sum = at::logsumexp(z, 1);
      log_sum.slice(0, begin, end).copy_(sum);
      log_prob.slice(0, begin, end).copy_(z.gather(1, target_S.slice(0, begin, end).unsqueeze(1)).squeeze(1) - sum);
      entropy.slice(0, begin, end).copy_(sum - at::exp(z - sum.unsqueeze(1)).mul_(z).sum(1));
    }
    context->save_for_backward({normed, head, target_S, log_sum, entropy});
    context->saved_data["temperature"] = temperature;
    context->saved_data["softcap"] = softcap;
    return {log_prob, entropy};
  }

  // d log_prob / dz = onehot(target) - p,  d entropy / dz = -p (log p + entropy).
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &normed = saved[0], &head = saved[1], &target_S = saved[2], &log_sum = saved[3], &entropy = saved[4];
    const HeadOptions options{context->saved_data["temperature"].toDouble(), context->saved_data["softcap"].toDouble()};
    const at::Tensor factor = product_factor(head);
    const bool of_head = head.requires_grad();
    at::Tensor grad_normed = at::empty_like(normed);
    at::Tensor grad_head = of_head ? at::zeros(head.sizes(), head.options().dtype(at::kFloat)) : at::Tensor();
    const std::int64_t step = rows_at_once(head);
    for (std::int64_t begin = 0; begin < normed.size(0); begin += step) {
      const auto piece = [&](const at::Tensor& of_all) { return of_all.slice(0, begin, std::min(begin + step, normed.size(0))); };
      const auto column = [&](const at::Tensor& of_all) { return piece(of_all).unsqueeze(1); };
      const at::Tensor z = scaled_logits(piece(normed), factor, options);
      const at::Tensor log_p = z - column(log_sum);
      at::Tensor grad_z = (log_p + column(entropy)).mul_(column(gradients[1])).add_(column(gradients[0])).neg_().mul_(log_p.exp());
      grad_z.scatter_add_(1, column(target_S), column(gradients[0]));
      if (options.softcap > 0) grad_z.mul_(1 - (z * (options.temperature / options.softcap)).square_());
      if (options.temperature != 1) grad_z.div_(options.temperature);
      const at::Tensor grad_logits = grad_z.to(factor.scalar_type());
      piece(grad_normed).copy_(at::mm(grad_logits, factor));
      if (of_head) grad_head.add_(at::mm(grad_logits.t(), product_factor(piece(normed))));
    }
    if (of_head) grad_head = grad_head.to(head.scalar_type());
    return {grad_normed, grad_head, at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

ResponseTokens list_response_tokens(const Batch& batch, std::span<const std::int64_t> begins) {
  ResponseTokens tokens;
  tokens.row_begin.push_back(0);
  for (std::size_t row = 0; row < batch.row_segment.size(); ++row) {
    const Segment& segment = batch.segments[static_cast<std::size_t>(batch.row_segment[row])];
    const std::int64_t prefix = segment.prefix_length();
    const auto index = [&](std::int64_t place) { return place < prefix ? segment.prefix_begin + place : segment.begin + place - prefix; };
    if (begins[row] < 1) fail_internal("list_response_tokens: expected a response after the first token");
    for (std::int64_t place = begins[row]; place < prefix + segment.length(); ++place) {
      tokens.predictors.push_back(index(place - 1));
      tokens.targets.push_back(batch.tokens[static_cast<std::size_t>(index(place))]);
    }
    tokens.row_begin.push_back(tokens.count());
  }
  return tokens;
}

TokenLogProbs head_log_probs(const Model& model, const at::Tensor& hidden_SD, const std::vector<std::int64_t>& targets,
                             double temperature) {
  const at::Tensor normed = final_norm(model, hidden_SD);
  const at::Tensor& head = model.weights.at(model.spec.tied_embeddings ? Slot::token_embedding : Slot::lm_head);
  const at::Tensor target_S = at::tensor(targets, at::kLong).to(normed.device());
  const variable_list made = HeadLogProbs::apply(normed, head, target_S, temperature, model.spec.logit_softcap);
  return {made[0], made[1]};
}

TokenLogProbs token_log_probs(const Model& model, const Batch& batch, const ResponseTokens& tokens, double temperature,
                              const ForwardOptions& options) {
  return head_log_probs(model, run_batch(model, batch, options, tokens.predictors), tokens.targets, temperature);
}

at::Tensor sum_rows(const at::Tensor& value_S, std::span<const std::int64_t> row_begin) {
  std::vector<std::int64_t> row_of;
  for (std::size_t row = 0; row + 1 < row_begin.size(); ++row)
    row_of.insert(row_of.end(), static_cast<std::size_t>(row_begin[row + 1] - row_begin[row]), static_cast<std::int64_t>(row));
  const at::Tensor index_S = at::tensor(row_of, at::kLong).to(value_S.device());
  return at::zeros({static_cast<std::int64_t>(row_begin.size()) - 1}, value_S.options().requires_grad(false))
      .index_add(0, index_S, value_S);
}

}  // namespace metarm
