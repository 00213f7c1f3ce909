#include "metarm/model/tree_attention_cpu.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <numeric>
#include <utility>

namespace metarm {

namespace {

constexpr std::int64_t kRowGrain = 16;  // rows a thread rotates at least

// Calls `work` for each tree and key/value head: the longest trees first, the next one for whichever thread is free.
void for_each_task(const TreeAttentionSpec& spec, std::int64_t window,
                   const std::function<void(const AttentionTask&, std::int64_t)>& work) {
  std::vector<std::size_t> order(spec.trees.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return spec.trees[a].tokens > spec.trees[b].tokens; });
  const std::int64_t H = spec.heads, G = spec.kv_heads, E = spec.head_width, shared = H / G;
  const std::int64_t tasks = static_cast<std::int64_t>(order.size()) * G;
  std::atomic<std::int64_t> next{0};
  at::parallel_for(0, std::min<std::int64_t>(tasks, at::get_num_threads()), 1, [&](std::int64_t, std::int64_t) {
    for (std::int64_t task = next++; task < tasks; task = next++) {
      const TreeAttentionSpec::Tree& tree = spec.trees[order[static_cast<std::size_t>(task / G)]];
      const std::int64_t g = task % G;
      work({.segments = tree.segments.data(),
            .segment_count = static_cast<std::int64_t>(tree.segments.size()),
            .tokens = tree.tokens,
            .width = E,
            .shared = shared,
            .row_stride = (H + 2 * G) * E,
            .query_offset = g * shared * E,
            .key_offset = (H + g) * E,
            .value_offset = (H + G + g) * E,
            .out_stride = H * E,
            .out_offset = g * shared * E,
            .log_sum_stride = H,
            .log_sum_offset = g * shared,
            .scale = spec.scale,
            .softcap = spec.softcap,
            .window = window},
           tree.begin);
    }
  });
}

struct SpecHolder : torch::CustomClassHolder {
  SpecHolder(std::shared_ptr<const TreeAttentionSpec> held, Rotary angles) : spec(std::move(held)), rotary(std::move(angles)) {}
  std::shared_ptr<const TreeAttentionSpec> spec;
  Rotary rotary;  // constants to autograd
};

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

template <class Element>
void attend(const TreeAttentionSpec& spec, std::int64_t window, const at::Tensor& qkv, at::Tensor& out, at::Tensor& log_sum) {
  const auto* from = static_cast<const Element*>(qkv.const_data_ptr());
  auto* to = static_cast<Element*>(out.mutable_data_ptr());
  float* sums = log_sum.mutable_data_ptr<float>();
  for_each_task(spec, window, [&](const AttentionTask& task, std::int64_t begin) {
    cpu_kernels_of<Element>().attention(task, from + begin * task.row_stride, to + begin * task.out_stride,
                                        sums + begin * task.log_sum_stride);
  });
}

template <class Element>
void attend_backward(const TreeAttentionSpec& spec, std::int64_t window, const variable_list& saved, const at::Tensor& grad_out,
                     at::Tensor& grad_qkv) {
  const auto* qkv = static_cast<const Element*>(saved[0].const_data_ptr());
  const auto* out = static_cast<const Element*>(saved[1].const_data_ptr());
  const float* sums = saved[2].const_data_ptr<float>();
  const auto* grad = static_cast<const Element*>(grad_out.const_data_ptr());
  auto* to = static_cast<Element*>(grad_qkv.mutable_data_ptr());
  for_each_task(spec, window, [&](const AttentionTask& task, std::int64_t begin) {
    cpu_kernels_of<Element>().attention_backward(task, qkv + begin * task.row_stride, out + begin * task.out_stride,
                                                 grad + begin * task.out_stride, sums + begin * task.log_sum_stride,
                                                 to + begin * task.row_stride);
  });
}

bool is_float32(const at::Tensor& x) { return x.scalar_type() == at::kFloat; }

struct TreeAttentionFunction : torch::autograd::Function<TreeAttentionFunction> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv, const c10::intrusive_ptr<SpecHolder>& holder,
                            std::int64_t window) {
    const TreeAttentionSpec& spec = *holder->spec;
    rotate_heads(qkv, spec.heads + spec.kv_heads, spec.rotary_width, holder->rotary, false);
    at::Tensor out = at::empty({qkv.size(0), spec.heads, spec.head_width}, qkv.options());
    at::Tensor log_sum = at::empty({qkv.size(0), spec.heads}, qkv.options().dtype(at::kFloat));
    if (is_float32(qkv))
      attend<float>(spec, window, qkv, out, log_sum);
    else
      attend<Bfloat16Bits>(spec, window, qkv, out, log_sum);
    context->save_for_backward({qkv, out, log_sum});
    context->saved_data["spec"] = c10::IValue::make_capsule(holder);
    context->saved_data["window"] = window;
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto holder = c10::static_intrusive_pointer_cast<SpecHolder>(context->saved_data["spec"].toCapsule());
    const TreeAttentionSpec& spec = *holder->spec;
    const std::int64_t window = context->saved_data["window"].toInt();
    const at::Tensor grad_out = gradients[0].contiguous();
    at::Tensor grad_qkv = at::empty(saved[0].sizes(), saved[0].options());
    if (is_float32(grad_qkv))
      attend_backward<float>(spec, window, saved, grad_out, grad_qkv);
    else
      attend_backward<Bfloat16Bits>(spec, window, saved, grad_out, grad_qkv);
    rotate_heads(grad_qkv, spec.heads + spec.kv_heads, spec.rotary_width, holder->rotary, true);
    return {grad_qkv, at::Tensor(), at::Tensor()};
  }
};

template <class Element>
void rotate(const at::Tensor& x, std::int64_t heads, std::int64_t rotary_width, const Rotary& rotary, bool inverse) {
  const std::int64_t stride = x.size(1) * x.size(2), half = rotary_width / 2;
  auto* data = static_cast<Element*>(x.mutable_data_ptr());
  const float *cosine = rotary.cosine.const_data_ptr<float>(), *sine = rotary.sine.const_data_ptr<float>();
  at::parallel_for(0, x.size(0), kRowGrain, [&](std::int64_t from, std::int64_t to) {
    cpu_kernels_of<Element>().rotate(data + from * stride, cosine + from * half, sine + from * half, to - from, stride, heads, x.size(2),
                                     rotary_width, inverse);
  });
}

}  // namespace

TreeAttentionSpec make_tree_attention_spec(const ModelSpec& spec, const std::vector<Segment>& segments) {
  TreeAttentionSpec made{{},
                         spec.heads,
                         spec.kv_heads,
                         spec.head_width,
                         spec.rotary_width,
                         static_cast<float>(spec.attention_scale),
                         static_cast<float>(spec.attention_softcap)};
  for (const Segment& segment : segments) {
    if (segment.prefix_length() == 0) made.trees.push_back({segment.begin, 0, {}});
    TreeAttentionSpec::Tree& tree = made.trees.back();
    tree.tokens = segment.end - tree.begin;
    tree.segments.push_back({segment.begin - tree.begin, segment.end - tree.begin, segment.prefix_length()});
  }
  return made;
}

void rotate_heads(const at::Tensor& x, std::int64_t heads, std::int64_t rotary_width, const Rotary& rotary, bool inverse) {
  if (!rotary.cosine.defined()) return;
  if (is_float32(x))
    rotate<float>(x, heads, rotary_width, rotary, inverse);
  else
    rotate<Bfloat16Bits>(x, heads, rotary_width, rotary, inverse);
}

at::Tensor tree_attention_cpu(const std::shared_ptr<const TreeAttentionSpec>& spec, std::int64_t window, const at::Tensor& qkv,
                              const Rotary& rotary) {
  return TreeAttentionFunction::apply(qkv, c10::make_intrusive<SpecHolder>(spec, rotary), window);
}

}  // namespace metarm
