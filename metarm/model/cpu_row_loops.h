// Norms, activations and rotation, a row at a time (cpu_kernels_loops.h).
#pragma once

#include <cmath>

#include "metarm/model/cpu_vectors.h"

namespace metarm {
namespace {

template <class Element>
void rms_norm(const Element* x, const Element* weight, bool add_one, float epsilon, std::int64_t rows, std::int64_t width, Element* out,
              float* inverse_root) {
  const float one = add_one ? 1.0F : 0.0F;
  for (std::int64_t row = 0; row < rows; ++row, x += width, out += width) {
    Vec squares{};
    float rest = 0;
    sweep(
        width, [&](std::int64_t i) { squares += load(x + i) * load(x + i); },
        [&](std::int64_t i) { rest += load_one(x + i) * load_one(x + i); });
    const float inverse = 1.0F / std::sqrt((sum_of(squares) + rest) / static_cast<float>(width) + epsilon);
    inverse_root[row] = inverse;
    sweep(
        width, [&](std::int64_t i) { store(out + i, load(x + i) * inverse * (load(weight + i) + one)); },
        [&](std::int64_t i) { store_one(out + i, load_one(x + i) * inverse * (load_one(weight + i) + one)); });
  }
}

template <class Element>
void rms_norm_backward(const Element* grad, const Element* x, const Element* weight, bool add_one, const float* inverse_root,
                       std::int64_t rows, std::int64_t width, Element* grad_x, float* grad_weight) {
  const float one = add_one ? 1.0F : 0.0F;
  for (std::int64_t row = 0; row < rows; ++row, grad += width, x += width, grad_x += width) {
    const float inverse = inverse_root[row];
    Vec along{};
    float rest = 0;
    sweep(
        width,
        [&](std::int64_t i) {
          const Vec g = load(grad + i), value = load(x + i);
          along += g * (load(weight + i) + one) * value;
          store(grad_weight + i, load(grad_weight + i) + g * value * inverse);
        },
        [&](std::int64_t i) {
          const float g = load_one(grad + i), value = load_one(x + i);
          rest += g * (load_one(weight + i) + one) * value;
          grad_weight[i] += g * value * inverse;
        });
    const float share = (sum_of(along) + rest) * inverse * inverse / static_cast<float>(width);
    sweep(
        width, [&](std::int64_t i) { store(grad_x + i, inverse * (load(grad + i) * (load(weight + i) + one) - load(x + i) * share)); },
        [&](std::int64_t i) {
          store_one(grad_x + i, inverse * (load_one(grad + i) * (load_one(weight + i) + one) - load_one(x + i) * share));
        });
  }
}

inline float sigmoid_of(float x) { return 1.0F / (1.0F + std::exp(-x)); }

template <class Element>
void silu_gate(const Element* x, std::int64_t rows, std::int64_t half, Element* out) {
  for (std::int64_t row = 0; row < rows; ++row, x += 2 * half, out += half) {
    const Element* up = x + half;
    sweep(
        half, [&](std::int64_t i) { store(out + i, load(x + i) * sigmoid_of(load(x + i)) * load(up + i)); },
        [&](std::int64_t i) { store_one(out + i, load_one(x + i) * sigmoid_of(load_one(x + i)) * load_one(up + i)); });
  }
}

template <class Element>
void silu_gate_backward(const Element* grad, const Element* x, std::int64_t rows, std::int64_t half, Element* grad_x) {
  const auto write = [&](std::int64_t i, auto g, auto gate, auto up, const auto& put) {
    const auto open = sigmoid_of(gate);
    put(grad_x + i, g * up * open * (1.0F + gate * (1.0F - open)));
    put(grad_x + half + i, g * gate * open);
  };
  for (std::int64_t row = 0; row < rows; ++row, grad += half, x += 2 * half, grad_x += 2 * half)
    sweep(
        half,
        [&](std::int64_t i) {
          write(i, load(grad + i), load(x + i), load(x + half + i), [](Element* to, Vec value) { store(to, value); });
        },
        [&](std::int64_t i) {
          write(i, load_one(grad + i), load_one(x + i), load_one(x + half + i), [](Element* to, float value) { store_one(to, value); });
        });
}

void exponentials(const float* x, std::int64_t count, float factor, float* out) {
  Vec most = splat(-INFINITY);
  float highest = -INFINITY;
  sweep(
      count, [&](std::int64_t i) { most = load(x + i) > most ? load(x + i) : most; },
      [&](std::int64_t i) { highest = x[i] > highest ? x[i] : highest; });
  highest = max_of(most) > highest ? max_of(most) : highest;
  sweep(
      count, [&](std::int64_t i) { store(out + i, exp_of((load(x + i) - highest) * factor)); },
      [&](std::int64_t i) { out[i] = exp_of(splat((x[i] - highest) * factor))[0]; });
}

template <class Element>
void rotate(Element* x, const float* cosine, const float* sine, std::int64_t rows, std::int64_t row_stride, std::int64_t heads,
            std::int64_t width, std::int64_t rotary, bool inverse) {
  const std::int64_t half = rotary / 2;
  const float sign = inverse ? -1.0F : 1.0F;
  for (std::int64_t row = 0; row < rows; ++row, cosine += half, sine += half) {
    for (std::int64_t head = 0; head < heads; ++head) {
      Element *first = x + row * row_stride + head * width, *second = first + half;
      sweep(
          half,
          [&](std::int64_t i) {
            const Vec a = load(first + i), b = load(second + i), c = load(cosine + i), s = load(sine + i) * sign;
            store(first + i, a * c - b * s);
            store(second + i, b * c + a * s);
          },
          [&](std::int64_t i) {
            const float a = load_one(first + i), b = load_one(second + i), c = cosine[i], s = sine[i] * sign;
            store_one(first + i, a * c - b * s);
            store_one(second + i, b * c + a * s);
          });
    }
  }
}

}  // namespace
}  // namespace metarm
