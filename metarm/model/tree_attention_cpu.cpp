#include "metarm/model/tree_attention_cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <functional>
#include <limits>

namespace metarm {

namespace {

constexpr std::int64_t kQueryBlock = 256;  // queries of one head whose logits are held at once

// One key/value head of one tree: float32 copies of what it reads, laid out for products.
class HeadTask {
 public:
  HeadTask(const TreeAttentionSpec& spec, std::int64_t window, const std::vector<Segment>& tree, std::int64_t head, std::int64_t shared)
      : spec_(spec), window_(window), tree_(tree), head_(head), shared_(shared), begin_(tree.front().begin), end_(tree.back().end) {}

  void forward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, at::Tensor& out) const {
    const at::Tensor key_TE = kv_rows(key), value_TE = kv_rows(value);
    for_each_block([&](const Block& block) {
      const at::Tensor probability = probabilities(logits(block, query_rows(query, block), visible(key_TE, block)), block);
      write_queries(out, block, at::mm(probability, visible(value_TE, block)));
    });
  }

  void backward(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& grad_out, at::Tensor& grad_query,
                at::Tensor& grad_key, at::Tensor& grad_value) const {
    const at::Tensor key_TE = kv_rows(key), value_TE = kv_rows(value);
    at::Tensor grad_key_TE = at::zeros_like(key_TE), grad_value_TE = at::zeros_like(value_TE);
    for_each_block([&](const Block& block) {
      const at::Tensor query_QE = query_rows(query, block), grad_QE = query_rows(grad_out, block);
      const at::Tensor key_KE = visible(key_TE, block), value_KE = visible(value_TE, block);
      const at::Tensor logit_QK = logits(block, query_QE, key_KE);
      const at::Tensor probability_QK = probabilities(logit_QK, block);
      add_visible(grad_value_TE, block, at::mm(probability_QK.t(), grad_QE));
      at::Tensor grad_logit_QK = at::_softmax_backward_data(at::mm(grad_QE, value_KE.t()), probability_QK, -1, at::kFloat);
      if (spec_.softcap > 0) grad_logit_QK.mul_(cap_slope(block, query_QE, key_KE));
      grad_logit_QK.mul_(spec_.scale);
      write_queries(grad_query, block, at::mm(grad_logit_QK, key_KE));
      add_visible(grad_key_TE, block, at::mm(grad_logit_QK.t(), query_QE));
    });
    grad_key.slice(0, begin_, end_).select(1, head_).copy_(grad_key_TE);
    grad_value.slice(0, begin_, end_).select(1, head_).copy_(grad_value_TE);
  }

 private:
  // Queries [begin, end) of a segment, token indices in the batch.
  struct Block {
    const Segment& segment;
    std::int64_t begin, end;
    std::int64_t length() const { return end - begin; }
    std::int64_t own() const { return end - segment.begin; }  // keys of the segment itself
  };

  void for_each_block(const std::function<void(const Block&)>& work) const {
    for (const Segment& segment : tree_)
      for (std::int64_t begin = segment.begin; begin < segment.end; begin += kQueryBlock)
        work({segment, begin, std::min(segment.end, begin + kQueryBlock)});
  }

  at::Tensor kv_rows(const at::Tensor& x_NGE) const { return x_NGE.slice(0, begin_, end_).select(1, head_).to(at::kFloat).contiguous(); }

  // [shared * length, E]: the queries of the heads that read this key/value head, head by head.
  at::Tensor query_rows(const at::Tensor& x_NHE, const Block& block) const {
    const at::Tensor rows = x_NHE.slice(0, block.begin, block.end).slice(1, head_ * shared_, (head_ + 1) * shared_);
    return rows.transpose(0, 1).to(at::kFloat).reshape({shared_ * block.length(), x_NHE.size(2)});
  }
  void write_queries(at::Tensor& x_NHE, const Block& block, const at::Tensor& rows) const {
    x_NHE.slice(0, block.begin, block.end)
        .slice(1, head_ * shared_, (head_ + 1) * shared_)
        .copy_(rows.view({shared_, block.length(), -1}).transpose(0, 1));
  }

  // Rows that a block may see: the segment's prefix, then the segment up to the block's end.
  at::Tensor visible(const at::Tensor& x_TE, const Block& block) const {
    const Segment& segment = block.segment;
    const at::Tensor own = x_TE.slice(0, segment.begin - begin_, block.end - begin_);
    if (segment.prefix_length() == 0) return own;
    return at::cat({x_TE.slice(0, segment.prefix_begin - begin_, segment.prefix_end - begin_), own});
  }
  void add_visible(at::Tensor& x_TE, const Block& block, const at::Tensor& rows) const {
    const Segment& segment = block.segment;
    const std::int64_t prefix = segment.prefix_length();
    if (prefix > 0) x_TE.slice(0, segment.prefix_begin - begin_, segment.prefix_end - begin_).add_(rows.slice(0, 0, prefix));
    x_TE.slice(0, segment.begin - begin_, block.end - begin_).add_(rows.slice(0, prefix));
  }

  at::Tensor logits(const Block&, const at::Tensor& query_QE, const at::Tensor& key_KE) const {
    at::Tensor logit_QK = at::mm(query_QE, key_KE.t()).mul_(spec_.scale);
    if (spec_.softcap > 0) logit_QK.div_(spec_.softcap).tanh_().mul_(spec_.softcap);
    return logit_QK;
  }

  // d(c tanh(x / c)) / dx = 1 - tanh(x / c)^2, from the logits again.
  at::Tensor cap_slope(const Block& block, const at::Tensor& query_QE, const at::Tensor& key_KE) const {
    return logits(block, query_QE, key_KE).div_(spec_.softcap).square_().neg_().add_(1.0);
  }

  // Hides what lies ahead or outside the window (in place), then softmax.
  at::Tensor probabilities(const at::Tensor& logit_QK, const Block& block) const {
    constexpr float kHidden = -std::numeric_limits<float>::infinity();
    const std::int64_t keys = logit_QK.size(1), first = keys - block.length();  // of the block's first query, its own key
    float* row = logit_QK.mutable_data_ptr<float>();
    for (std::int64_t h = 0; h < shared_; ++h) {
      for (std::int64_t i = 0; i < block.length(); ++i, row += keys) {
        std::fill(row + first + i + 1, row + keys, kHidden);
        if (window_ > 0) std::fill(row, row + std::max<std::int64_t>(0, first + i + 1 - window_), kHidden);
      }
    }
    return at::_softmax(logit_QK, -1, false);
  }

  const TreeAttentionSpec& spec_;
  std::int64_t window_;
  const std::vector<Segment>& tree_;
  std::int64_t head_, shared_;
  std::int64_t begin_, end_;  // the tree's tokens
};

void for_each_task(const TreeAttentionSpec& spec, std::int64_t window, std::int64_t heads, std::int64_t kv_heads,
                   const std::function<void(const HeadTask&)>& work) {
  const auto trees = static_cast<std::int64_t>(spec.trees.size());
  at::parallel_for(0, trees * kv_heads, 1, [&](std::int64_t from, std::int64_t to) {
    const at::AutoDispatchBelowAutograd below;  // grad mode does not follow into worker threads
    for (std::int64_t task = from; task < to; ++task)
      work(HeadTask(spec, window, spec.trees[static_cast<std::size_t>(task / kv_heads)], task % kv_heads, heads / kv_heads));
  });
}

struct SpecHolder : torch::CustomClassHolder {
  explicit SpecHolder(std::shared_ptr<const TreeAttentionSpec> held) : spec(std::move(held)) {}
  std::shared_ptr<const TreeAttentionSpec> spec;
};

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct TreeAttentionFunction : torch::autograd::Function<TreeAttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                            const c10::intrusive_ptr<SpecHolder>& holder, std::int64_t window) {
    context->save_for_backward({query, key, value});
    context->saved_data["spec"] = c10::IValue::make_capsule(holder);
    context->saved_data["window"] = window;
    at::Tensor out = at::empty(query.sizes(), query.options());
    for_each_task(*holder->spec, window, query.size(1), key.size(1), [&](const HeadTask& task) { task.forward(query, key, value, out); });
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto holder = c10::static_intrusive_pointer_cast<SpecHolder>(context->saved_data["spec"].toCapsule());
    const at::Tensor &query = saved[0], &key = saved[1], &value = saved[2];
    at::Tensor grad_query = at::empty(query.sizes(), query.options()), grad_key = at::empty(key.sizes(), key.options()),
               grad_value = at::empty(value.sizes(), value.options());
    for_each_task(*holder->spec, context->saved_data["window"].toInt(), query.size(1), key.size(1),
                  [&](const HeadTask& task) { task.backward(query, key, value, gradients[0], grad_query, grad_key, grad_value); });
    return {grad_query, grad_key, grad_value, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

std::vector<std::vector<Segment>> group_by_tree(const std::vector<Segment>& segments) {
  std::vector<std::vector<Segment>> trees;
  for (const Segment& segment : segments) {
    if (segment.prefix_length() == 0) trees.emplace_back();
    trees.back().push_back(segment);
  }
  return trees;
}

at::Tensor tree_attention_cpu(const std::shared_ptr<const TreeAttentionSpec>& spec, std::int64_t window, const at::Tensor& query_NHE,
                              const at::Tensor& key_NGE, const at::Tensor& value_NGE) {
  return TreeAttentionFunction::apply(query_NHE, key_NGE, value_NGE, c10::make_intrusive<SpecHolder>(spec), window);
}

}  // namespace metarm
