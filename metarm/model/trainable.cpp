#include "metarm/model/trainable.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/cpu_kernels.h"

namespace metarm {

namespace {

constexpr std::int64_t kGrain = 1 << 16;
constexpr std::int64_t kBlock = 1 << 12;

// 16 random bits an element, a function of (seed, element): of `count` elements from `first` on, a multiple of 4. Four share a draw.
void draw_noise(std::uint64_t seed, std::int64_t first, std::int64_t count, std::uint16_t* noise) {
  for (std::int64_t i = 0; i < count; i += 4) {
    const std::uint64_t draw = mix64(seed + static_cast<std::uint64_t>((first + i) / 4) * 0x9e3779b97f4a7c15ULL);
    for (std::int64_t k = 0; k < 4; ++k) noise[i + k] = static_cast<std::uint16_t>(draw >> (16 * k));
  }
}

// The blocks of [begin, end), which begins at a multiple of 4, as tasks of the kernels: work(task, its first element).
template <class Work>
void for_each_block(const float* x, const float* direction, float scale, Rounding rounding, std::uint64_t seed, std::int64_t begin,
                    std::int64_t end, const Work& work) {
  std::uint16_t noise[kBlock];
  for (std::int64_t i = begin; i < end; i += kBlock) {
    const std::int64_t count = std::min(kBlock, end - i);
    const bool stochastic = rounding == Rounding::stochastic;
    if (stochastic) draw_noise(seed, i, count, noise);
    work(WeightTask{x + i, direction == nullptr ? nullptr : direction + i, scale, stochastic ? noise : nullptr, count}, i);
  }
}

Bfloat16Bits* bits_of(at::Tensor& tensor) { return static_cast<Bfloat16Bits*>(tensor.mutable_data_ptr()); }

const float* data_or_null(const at::Tensor& tensor) { return tensor.defined() ? tensor.const_data_ptr<float>() : nullptr; }

void cast_on_cpu(at::Tensor& dst, const at::Tensor& source, const at::Tensor& direction, float scale, Rounding rounding,
                 std::uint64_t seed) {
  const float* from = source.const_data_ptr<float>();
  const float* shift = data_or_null(direction);
  const auto shifted = [&](std::int64_t i) { return shift == nullptr ? from[i] : from[i] + scale * shift[i]; };
  if (dst.scalar_type() == at::kFloat) {
    float* to = dst.mutable_data_ptr<float>();
    at::parallel_for(0, dst.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) to[i] = shifted(i);
    });
    return;
  }
  Bfloat16Bits* const to = bits_of(dst);
  at::parallel_for(0, (dst.numel() + kBlock - 1) / kBlock, kGrain / kBlock, [&](std::int64_t begin, std::int64_t end) {
    for_each_block(from, shift, scale, rounding, seed, begin * kBlock, std::min(dst.numel(), end * kBlock),
                   [&](const WeightTask& task, std::int64_t first) { cpu_kernels().round_weights(task, to + first); });
  });
}

// The same by tensor operations, a piece at a time, for devices other than the CPU.
void cast_on_device(at::Tensor& dst, const at::Tensor& source, const at::Tensor& direction, double scale, Rounding rounding,
                    std::uint64_t seed) {
  constexpr std::int64_t kPiece = 1 << 24;
  at::Generator generator;
  for (std::int64_t begin = 0; begin < dst.numel(); begin += kPiece) {
    const std::int64_t count = std::min(kPiece, dst.numel() - begin);
    at::Tensor value = source.narrow(0, begin, count);
    if (direction.defined()) value = value.add(direction.narrow(0, begin, count), scale);
    at::Tensor to = dst.narrow(0, begin, count);
    if (dst.scalar_type() == at::kFloat || rounding == Rounding::nearest) {
      to.copy_(value);
      continue;
    }
    if (!generator.defined()) {
      generator = at::globalContext().defaultGenerator(dst.device()).clone();
      generator.set_current_seed(seed);
    }
    const at::Tensor noise = at::empty({count}, source.options().dtype(at::kInt)).random_(0, 1 << 16, generator);
    to.copy_(value.view(at::kInt).add(noise).bitwise_and(static_cast<std::int64_t>(-65536)).view(at::kFloat));
  }
}

// ⟨cast(θ') − cast(θ), θ' − θ⟩ and ‖θ' − θ‖².
struct Products {
  double kept = 0, length = 0;
};

// The sums of `work`, which returns those of elements [begin, end), over all elements: in a fixed order, whatever the threads.
template <class Work>
Products sum_over_pieces(std::int64_t total, const Work& work) {
  constexpr std::int64_t kPieces = 256;
  std::vector<Products> pieces(kPieces);
  const std::int64_t piece = (total + 4 * kPieces - 1) / (4 * kPieces) * 4;
  at::parallel_for(0, kPieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p)
      if (p * piece < total) pieces[static_cast<std::size_t>(p)] = work(p * piece, std::min(total, (p + 1) * piece));
  });
  Products sums;
  for (const Products& of_piece : pieces) sums.kept += of_piece.kept, sums.length += of_piece.length;
  return sums;
}

// `copy` holds cast(θ), and then cast(θ').
Products shift_on_cpu(at::Tensor& copy, const at::Tensor& source, const at::Tensor& direction, float scale, Rounding rounding,
                      std::uint64_t seed) {
  const float* from = source.const_data_ptr<float>();
  const float* shift = direction.const_data_ptr<float>();
  if (copy.scalar_type() == at::kFloat) {
    float* const to = copy.mutable_data_ptr<float>();
    return sum_over_pieces(copy.numel(), [&](std::int64_t begin, std::int64_t end) {
      Products sums;
      for (std::int64_t i = begin; i < end; ++i) {
        const double step = static_cast<double>(scale) * shift[i];
        const float shifted = from[i] + scale * shift[i];
        sums.kept += (static_cast<double>(shifted) - to[i]) * step;
        sums.length += step * step;
        to[i] = shifted;
      }
      return sums;
    });
  }
  Bfloat16Bits* const to = bits_of(copy);
  return sum_over_pieces(copy.numel(), [&](std::int64_t begin, std::int64_t end) {
    Products sums;
    for_each_block(from, shift, scale, rounding, seed, begin, end, [&](const WeightTask& task, std::int64_t first) {
      const WeightShift of_block = cpu_kernels().shift_weights(task, to + first);
      sums.kept += of_block.kept;
      sums.length += of_block.length;
    });
    return sums;
  });
}

Products shift_on_device(at::Tensor& copy, const at::Tensor& source, const at::Tensor& direction, double scale, Rounding rounding,
                         std::uint64_t seed) {
  const at::Tensor before = copy.clone();
  cast_weights(copy, source, direction, scale, rounding, seed);
  const at::Tensor moved = copy.to(at::kFloat).sub_(before);
  return {scale * at::dot(moved, direction).item<double>(), scale * scale * at::dot(direction, direction).item<double>()};
}

// torch's own sum of two types goes over memory three times.
void add_on_cpu(const at::Tensor& gradient, at::Tensor& sum) {
  const auto* from = static_cast<const Bfloat16Bits*>(gradient.const_data_ptr());
  float* const to = sum.mutable_data_ptr<float>();
  at::parallel_for(0, gradient.numel(), kGrain,
                   [&](std::int64_t begin, std::int64_t end) { cpu_kernels().add_gradient(from + begin, end - begin, to + begin); });
}

}  // namespace

void cast_weights(at::Tensor& dst, const at::Tensor& source, const at::Tensor& direction, double scale, Rounding rounding,
                  std::uint64_t seed) {
  const at::NoGradGuard no_grad;
  if (dst.scalar_type() != at::kFloat && dst.scalar_type() != at::kBFloat16)
    fail_internal("cast_weights: expected float32 or bfloat16, got {}", c10::toString(dst.scalar_type()));
  if (dst.is_cpu())
    cast_on_cpu(dst, source, direction, static_cast<float>(scale), rounding, seed);
  else
    cast_on_device(dst, source, direction, scale, rounding, seed);
}

Trainable::Trainable(FlatTensors master, at::ScalarType compute_dtype, bool separate_copy) : master_(std::move(master)) {
  if (compute_dtype != at::kFloat || separate_copy) copy_ = master_.like(compute_dtype);
  const FlatTensors& read = copy_.size() > 0 ? copy_ : master_;
  for (std::size_t i = 0; i < read.size(); ++i) leaves_.push_back(read.tensor(i).detach().requires_grad_(true));
}

void Trainable::load_compute(Rounding rounding, std::uint64_t seed) {
  if (copy_.size() == 0) return;
  at::Tensor copy = copy_.flat();
  cast_weights(copy, master_.flat(), {}, 0, rounding, seed);
}

double Trainable::shift_compute(const at::Tensor& direction, double scale, Rounding rounding, std::uint64_t seed) {
  if (copy_.size() == 0) fail_internal("shift_compute: expected a compute copy of its own");
  const at::NoGradGuard no_grad;
  at::Tensor copy = copy_.flat();
  const Products products = copy.is_cpu() ? shift_on_cpu(copy, master_.flat(), direction, static_cast<float>(scale), rounding, seed)
                                          : shift_on_device(copy, master_.flat(), direction, scale, rounding, seed);
  return products.length > 0 ? products.kept / products.length : 0;
}

void Trainable::move_gradient_to(at::Tensor& gradient, std::size_t i) {
  const at::NoGradGuard no_grad;
  at::Tensor& of_leaf = leaves_[i].mutable_grad();
  if (!of_leaf.defined()) return;
  at::Tensor sum = gradient.narrow(0, master_.offset(i), of_leaf.numel());
  if (of_leaf.is_cpu() && of_leaf.scalar_type() == at::kBFloat16)
    add_on_cpu(of_leaf.contiguous(), sum);
  else
    sum.add_(of_leaf.reshape({-1}));
  of_leaf.reset();
}

}  // namespace metarm
