// The gradient of a step, from the leaves of one rank to the sum over all.
//
// A leaf's gradient moves to the flat one as soon as a backward pass has made it, so that no second set of them is held.
//
// With several ranks the flat gradient is cut into buckets of about 25 MB, each within one rank's part. During the last backward pass a
// bucket is on its way to the rank that owns it as soon as its tensors have their gradients: from the end of the flat vector to its start,
// since later layers are done first.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "metarm/base/ranks.h"
#include "metarm/model/trainable.h"

namespace metarm {

class GradientSum {
 public:
  static constexpr std::int64_t kBucket = 25'000'000 / sizeof(float);  // elements

  // `gradient`: float32 zeros [total]. In the end this rank's part of it holds the sum; the rest is of no use.
  GradientSum(Ranks& ranks, Trainable& trainable, at::Tensor& gradient, std::int64_t bucket = kBucket);
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;
  ~GradientSum();

  void before_last_pass() { is_last_pass_ = true; }  // a leaf's next gradient completes its sum; a rank without rows need not call it
  void finish();                                     // all ranks: moves and sums what is left, and waits

 private:
  struct Bucket {
    Part range;
    int owner;
    std::int64_t waits_for;  // tensors that have no gradient yet
  };
  void make_buckets(std::int64_t bucket);
  void take(std::size_t leaf);
  void complete(std::size_t leaf);
  void remove_hooks();

  Ranks& ranks_;
  Trainable& trainable_;
  at::Tensor& gradient_;
  std::vector<Bucket> buckets_;  // in the order in which they are sent
  std::size_t sent_ = 0;
  std::vector<char> is_complete_;  // of each leaf
  bool hooked_ = true, is_last_pass_ = false, finished_ = false;
};

}  // namespace metarm
