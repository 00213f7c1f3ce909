#include "metarm/train/head_training.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cmath>

#include "metarm/base/random.h"
#include "metarm/objectives/head_losses.h"

namespace metarm {

namespace {

at::Tensor normal(at::IntArrayRef shape, double deviation, std::uint64_t seed) {
  at::Generator generator = at::detail::createCPUGenerator(seed);
  return at::empty(shape, at::kFloat).normal_(0, deviation, generator);
}

at::Tensor nothing(const at::Tensor& like) { return at::zeros({}, like.options().dtype(at::kFloat).requires_grad(false)); }

// Tensors: v [1, D], and the running mean and variance [D], which move by a tenth of the way a step; before the first step the variance is
// 0.
class BatchNormHead : public HeadTraining {
 public:
  explicit BatchNormHead(std::int64_t width) : width_(width) {}

  std::vector<TensorInfo> tensors() const override {
    return {{"head.scale", {1, width_}, true}, {"head.running_mean", {width_}, false}, {"head.running_variance", {width_}, false}};
  }
  double rate(std::size_t tensor) const override { return tensor == 0 ? 1 : 0; }
  void begin(std::span<const at::Tensor> tensors, const at::Tensor& head, std::uint64_t) const override { tensors[0].copy_(head); }

  TrainedRewards rewards(const at::Tensor& feature_BD, const at::Tensor&, std::span<const at::Tensor> tensors,
                         std::uint64_t) const override {
    const at::Tensor mean = feature_BD.mean(0), variance = feature_BD.var(0, false);
    const at::Tensor normed = (feature_BD - mean) / (variance + kEpsilon).sqrt();
    return {at::mm(normed, tensors[0].to(at::kFloat).t()).squeeze(1), nothing(feature_BD)};
  }

  void advance(const at::Tensor& feature_BD, std::span<const at::Tensor> masters) const override {
    const at::NoGradGuard no_grad;
    if (!at::isfinite(feature_BD).all().item<bool>()) return;  // a step that is skipped
    const double step = is_new(masters) ? 1 : kMomentum;
    masters[1].lerp_(feature_BD.mean(0), step);
    masters[2].lerp_(feature_BD.var(0, false), step);
  }

  at::Tensor head(std::span<const at::Tensor> masters) const override {
    return is_new(masters) ? masters[0].clone() : masters[0] / (masters[2] + kEpsilon).sqrt();
  }

 private:
  static constexpr double kEpsilon = 1e-5, kMomentum = 0.1;
  static bool is_new(std::span<const at::Tensor> masters) { return masters[2].max().item<float>() == 0; }

  std::int64_t width_;
};

// Tensors: M [K, D], S [K, D], s [K], w [1, K]. M's first row begins as the head and w as the code's first number, so that rewards stay.
class BottleneckHead : public HeadTraining {
 public:
  BottleneckHead(std::int64_t width, std::int64_t code_width, double weight) : width_(width), code_width_(code_width), weight_(weight) {}

  std::vector<TensorInfo> tensors() const override {
    return {{"head.code", {code_width_, width_}, true},
            {"head.log_variance", {code_width_, width_}, true},
            {"head.log_variance_bias", {code_width_}, false},
            {"head.of_code", {1, code_width_}, true}};
  }

  void begin(std::span<const at::Tensor> tensors, const at::Tensor& head, std::uint64_t seed) const override {
    tensors[0].copy_(normal({code_width_, width_}, 1 / std::sqrt(static_cast<double>(width_)), derive_seed(seed, "bottleneck")));
    tensors[0].narrow(0, 0, 1).copy_(head);
    tensors[2].fill_(kFirstLogVariance);
    tensors[3].narrow(1, 0, 1).fill_(1);
  }

  TrainedRewards rewards(const at::Tensor& feature_BD, const at::Tensor&, std::span<const at::Tensor> tensors,
                         std::uint64_t step_seed) const override {
    const auto wide = [&](std::size_t i) { return tensors[i].to(at::kFloat); };
    const at::Tensor mean = at::mm(feature_BD, wide(0).t()), log_variance = at::addmm(wide(2), feature_BD, wide(1).t());
    const at::Tensor noise = normal(mean.sizes(), 1, derive_seed(step_seed, "code noise")).to(mean.device());
    const at::Tensor code = mean + (0.5 * log_variance).exp() * noise;
    return {at::mm(code, wide(3).t()).squeeze(1), weight_ * code_information(mean, log_variance).mean()};
  }

  at::Tensor head(std::span<const at::Tensor> masters) const override { return at::mm(masters[3], masters[0]); }

 private:
  static constexpr double kFirstLogVariance = -4;  // little noise at first: deviations of 0.14
  std::int64_t width_, code_width_;
  double weight_;
};

// Tensors: w [1, D], u [1, D].
class LengthHead : public HeadTraining {
 public:
  LengthHead(std::int64_t width, double weight) : width_(width), weight_(weight) {}

  std::vector<TensorInfo> tensors() const override { return {{"head.quality", {1, width_}, true}, {"head.length", {1, width_}, true}}; }
  void begin(std::span<const at::Tensor> tensors, const at::Tensor& head, std::uint64_t seed) const override {
    tensors[0].copy_(head);
    tensors[1].copy_(
        normal({1, width_}, head.norm().item<double>() / std::sqrt(static_cast<double>(width_)), derive_seed(seed, "length head")));
  }

  TrainedRewards rewards(const at::Tensor& feature_BD, const at::Tensor& length_B, std::span<const at::Tensor> tensors,
                         std::uint64_t) const override {
    const at::Tensor w = tensors[0].to(at::kFloat), u = tensors[1].to(at::kFloat);
    const at::Tensor quality_B = at::mm(feature_BD, w.t()).squeeze(1), of_length_B = at::mm(feature_BD, u.t()).squeeze(1);
    return {quality_B + of_length_B, weight_ * length_penalty(quality_B, of_length_B, length_B, w, u)};
  }

  at::Tensor head(std::span<const at::Tensor> masters) const override { return masters[0].clone(); }

 private:
  std::int64_t width_;
  double weight_;
};

}  // namespace

std::unique_ptr<HeadTraining> make_head_training(const HeadTrainingOptions& options, std::int64_t width) {
  switch (options.head_training) {
    case HeadTrainingKind::plain: return nullptr;
    case HeadTrainingKind::batch_norm: return std::make_unique<BatchNormHead>(width);
    case HeadTrainingKind::bottleneck: return std::make_unique<BottleneckHead>(width, options.bottleneck_width, options.bottleneck_weight);
    case HeadTrainingKind::length_head: return std::make_unique<LengthHead>(width, options.length_weight);
  }
  return nullptr;
}

}  // namespace metarm
