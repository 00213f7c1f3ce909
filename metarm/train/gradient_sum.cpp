#include "metarm/train/gradient_sum.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

struct AfterAccumulation : torch::autograd::PostAccumulateGradHook {
  explicit AfterAccumulation(std::function<void()> then) : then_(std::move(then)) {}
  void operator()(const at::Tensor&) override { then_(); }
  std::function<void()> then_;
};

}  // namespace

GradientSum::GradientSum(Ranks& ranks, Trainable& trainable, at::Tensor& gradient, std::int64_t bucket)
    : ranks_(ranks), trainable_(trainable), gradient_(gradient), is_complete_(trainable.leaves().size(), 0) {
  if (ranks.size() > 1) make_buckets(bucket);
  const std::vector<at::Tensor>& leaves = trainable.leaves();
  for (std::size_t i = 0; i < leaves.size(); ++i)
    if (leaves[i].requires_grad())
      torch::autograd::impl::set_post_acc_grad_hooks(leaves[i], std::make_unique<AfterAccumulation>([this, i] { take(i); }));
}

GradientSum::~GradientSum() {
  remove_hooks();
  if (!finished_) ranks_.drop_sums();
}

void GradientSum::make_buckets(std::int64_t length) {
  const std::int64_t total = gradient_.numel();
  const FlatTensors& tensors = trainable_.master();
  for (int owner = ranks_.size() - 1; owner >= 0; --owner) {
    const Part part = part_of(total, owner, ranks_.size());
    for (std::int64_t end = part.end; end > part.begin; end -= length)
      buckets_.push_back({{std::max(part.begin, end - length), end}, owner, 0});
  }
  for (std::size_t i = 0; i < tensors.size(); ++i)
    for (Bucket& bucket : buckets_)
      bucket.waits_for += tensors.offset(i) < bucket.range.end && tensors.offset(i) + tensors.tensor(i).numel() > bucket.range.begin;
}

void GradientSum::take(std::size_t leaf) {
  if (is_last_pass_)
    complete(leaf);
  else
    trainable_.move_gradient_to(gradient_, leaf);
}

void GradientSum::complete(std::size_t leaf) {
  if (std::exchange(is_complete_[leaf], 1) != 0) fail_internal("a weight has two gradients in one backward pass: its sum is on its way");
  trainable_.move_gradient_to(gradient_, leaf);
  const FlatTensors& tensors = trainable_.master();
  for (Bucket& bucket : buckets_)
    bucket.waits_for -= tensors.offset(leaf) < bucket.range.end && tensors.offset(leaf) + tensors.tensor(leaf).numel() > bucket.range.begin;
  for (; sent_ < buckets_.size() && buckets_[sent_].waits_for == 0; ++sent_) {
    const Bucket& next = buckets_[sent_];
    ranks_.start_sum({gradient_.mutable_data_ptr<float>() + next.range.begin, static_cast<std::size_t>(next.range.size())}, next.owner);
  }
}

void GradientSum::finish() {
  remove_hooks();
  for (std::size_t i = 0; i < is_complete_.size(); ++i)
    if (is_complete_[i] == 0) complete(i);
  ranks_.wait();
  finished_ = true;
}

void GradientSum::remove_hooks() {
  if (!std::exchange(hooked_, false)) return;
  for (const at::Tensor& leaf : trainable_.leaves())
    if (leaf.requires_grad()) torch::autograd::impl::set_post_acc_grad_hooks(leaf, nullptr);
}

}  // namespace metarm
