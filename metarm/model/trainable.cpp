#include "metarm/model/trainable.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>

#include <bit>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

constexpr std::int64_t kGrain = 1 << 16;

std::uint16_t round_nearest(float value) { return c10::BFloat16(value).x; }

// Adds 16 random bits below the part that bfloat16 keeps: the carry rounds up with the probability of what a cast drops. Weights are
// finite.
std::uint16_t round_stochastic(float value, std::uint16_t noise) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value) + noise;
  return static_cast<std::uint16_t>(bits >> 16);
}

float widen(std::uint16_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }

// Four elements share a 64-bit draw.
std::uint16_t element_noise(std::uint64_t seed, std::int64_t i) {
  return static_cast<std::uint16_t>(mix64(seed + static_cast<std::uint64_t>(i >> 2) * 0x9e3779b97f4a7c15ULL) >> (16 * (i & 3)));
}

std::uint16_t round_to_bfloat16(float value, Rounding rounding, std::uint64_t seed, std::int64_t i) {
  return rounding == Rounding::stochastic ? round_stochastic(value, element_noise(seed, i)) : round_nearest(value);
}

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
  auto* to = reinterpret_cast<std::uint16_t*>(dst.mutable_data_ptr<at::BFloat16>());
  at::parallel_for(0, dst.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) to[i] = round_to_bfloat16(shifted(i), rounding, seed, i);
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

// `copy` holds cast(θ); each element becomes cast(θ') once the two have been compared.
template <class Element, class Cast, class Widen>
Products shift_elements(Element* copy, std::int64_t total, const float* from, const float* shift, float scale, const Cast& cast,
                        const Widen& widen_element) {
  constexpr std::int64_t kPieces = 256;  // summed in a fixed order, whatever the threads
  std::vector<Products> pieces(kPieces);
  const std::int64_t piece = (total + kPieces - 1) / kPieces;
  at::parallel_for(0, kPieces, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t p = begin; p < end; ++p) {
      Products sums;
      for (std::int64_t i = p * piece; i < std::min(total, (p + 1) * piece); ++i) {
        const double step = static_cast<double>(scale) * shift[i];
        const Element shifted = cast(from[i] + scale * shift[i], i);
        sums.kept += (static_cast<double>(widen_element(shifted)) - widen_element(copy[i])) * step;
        sums.length += step * step;
        copy[i] = shifted;
      }
      pieces[static_cast<std::size_t>(p)] = sums;
    }
  });
  Products sums;
  for (const Products& of_piece : pieces) sums.kept += of_piece.kept, sums.length += of_piece.length;
  return sums;
}

Products shift_on_cpu(at::Tensor& copy, const at::Tensor& source, const at::Tensor& direction, float scale, Rounding rounding,
                      std::uint64_t seed) {
  const float* from = source.const_data_ptr<float>();
  const float* shift = direction.const_data_ptr<float>();
  if (copy.scalar_type() == at::kFloat)
    return shift_elements(
        copy.mutable_data_ptr<float>(), copy.numel(), from, shift, scale, [](float value, std::int64_t) { return value; },
        [](float value) { return value; });
  return shift_elements(
      reinterpret_cast<std::uint16_t*>(copy.mutable_data_ptr<at::BFloat16>()), copy.numel(), from, shift, scale,
      [&](float value, std::int64_t i) { return round_to_bfloat16(value, rounding, seed, i); }, widen);
}

Products shift_on_device(at::Tensor& copy, const at::Tensor& source, const at::Tensor& direction, double scale, Rounding rounding,
                         std::uint64_t seed) {
  const at::Tensor before = copy.clone();
  cast_weights(copy, source, direction, scale, rounding, seed);
  const at::Tensor moved = copy.to(at::kFloat).sub_(before);
  return {scale * at::dot(moved, direction).item<double>(), scale * scale * at::dot(direction, direction).item<double>()};
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

double Trainable::load_compute_shifted(const at::Tensor& direction, double scale, Rounding rounding, std::uint64_t seed) {
  if (copy_.size() == 0) fail_internal("load_compute_shifted: expected a compute copy of its own");
  const at::NoGradGuard no_grad;
  at::Tensor copy = copy_.flat();
  load_compute(rounding, seed);
  const Products products = copy.is_cpu() ? shift_on_cpu(copy, master_.flat(), direction, static_cast<float>(scale), rounding, seed)
                                          : shift_on_device(copy, master_.flat(), direction, scale, rounding, seed);
  return products.length > 0 ? products.kept / products.length : 0;
}

void Trainable::move_gradient_to(at::Tensor& gradient, std::size_t i) {
  const at::NoGradGuard no_grad;
  at::Tensor& of_leaf = leaves_[i].mutable_grad();
  if (!of_leaf.defined()) return;
  gradient.narrow(0, master_.offset(i), of_leaf.numel()).add_(of_leaf.reshape({-1}));
  of_leaf.reset();
}

}  // namespace metarm
