// Every kernel of every instruction set that this machine runs, against double precision by the formulas.
#include "metarm/model/cpu_kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace metarm {

extern const CpuKernels kCpuKernelsWide;  // cpu_kernels_wide_test.cpp

namespace {

std::vector<float> normal(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> draw;
  std::vector<float> values(count);
  for (float& value : values) value = draw(random);
  return values;
}

Bfloat16Bits to_bits(float value) { return {static_cast<std::uint16_t>(__builtin_bit_cast(std::uint32_t, value) >> 16)}; }
float from_bits(Bfloat16Bits value) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(value.bits) << 16); }

std::vector<const CpuKernels*> tested_kernels() {
  const CpuKernelList list = list_cpu_kernels();
  std::vector<const CpuKernels*> tested(list.kernels, list.kernels + list.count);
  tested.push_back(&kCpuKernelsWide);
  return tested;
}

class Kernels : public testing::TestWithParam<const CpuKernels*> {
 protected:
  const CpuKernels& all() const { return *GetParam(); }
  const CpuKernelsOf<float>& kernels() const { return all().float32; }
};

TEST_P(Kernels, RmsNormAndItsGradient) {
  for (const std::int64_t width : {7, 64, 577}) {
    for (const bool add_one : {false, true}) {
      const std::int64_t rows = 3;
      const auto n = static_cast<std::size_t>(rows * width);
      const std::vector<float> x = normal(n, 1), weight = normal(static_cast<std::size_t>(width), 2), grad = normal(n, 3);
      std::vector<float> out(n), roots(3), grad_x(n), grad_weight(static_cast<std::size_t>(width), 0.5F);
      std::vector<double> expected_weight(static_cast<std::size_t>(width), 0.5);
      kernels().rms_norm(x.data(), weight.data(), add_one, 1e-5F, rows, width, out.data(), roots.data());
      kernels().rms_norm_backward(grad.data(), x.data(), weight.data(), add_one, roots.data(), rows, width, grad_x.data(),
                                  grad_weight.data());
      for (std::int64_t row = 0; row < rows; ++row) {
        const auto at = [&](std::int64_t i) { return static_cast<std::size_t>(row * width + i); };
        const auto scale = [&](std::int64_t i) { return weight[static_cast<std::size_t>(i)] + (add_one ? 1.0 : 0.0); };
        double squares = 0, along = 0;
        for (std::int64_t i = 0; i < width; ++i) squares += static_cast<double>(x[at(i)]) * x[at(i)];
        const double root = 1 / std::sqrt(squares / static_cast<double>(width) + 1e-5);
        for (std::int64_t i = 0; i < width; ++i) along += grad[at(i)] * scale(i) * x[at(i)];
        for (std::int64_t i = 0; i < width; ++i) {
          EXPECT_NEAR(out[at(i)], x[at(i)] * root * scale(i), 1e-5);
          EXPECT_NEAR(grad_x[at(i)], root * (grad[at(i)] * scale(i) - x[at(i)] * root * root * along / static_cast<double>(width)), 2e-5);
          expected_weight[static_cast<std::size_t>(i)] += grad[at(i)] * x[at(i)] * root;
        }
      }
      for (std::size_t i = 0; i < expected_weight.size(); ++i) EXPECT_NEAR(grad_weight[i], expected_weight[i], 2e-5);
    }
  }
}

TEST_P(Kernels, SiluGateAndItsGradient) {
  const std::int64_t rows = 2, half = 21;
  std::vector<float> x = normal(static_cast<std::size_t>(rows * 2 * half), 4);
  x[0] = 90, x[1] = -90, x[2] = -200;  // where e^x leaves float32
  const std::vector<float> grad = normal(static_cast<std::size_t>(rows * half), 5);
  std::vector<float> out(grad.size()), grad_x(x.size());
  kernels().silu_gate(x.data(), rows, half, out.data());
  kernels().silu_gate_backward(grad.data(), x.data(), rows, half, grad_x.data());
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t i = 0; i < half; ++i) {
      const auto at = static_cast<std::size_t>(row * half + i), gate_at = static_cast<std::size_t>(row * 2 * half + i);
      const auto up_at = gate_at + static_cast<std::size_t>(half);
      const double gate = x[gate_at], up = x[up_at], open = 1 / (1 + std::exp(-gate));
      EXPECT_NEAR(out[at], gate * open * up, 1e-5 * (1 + std::abs(gate * up)));
      EXPECT_NEAR(grad_x[gate_at], grad[at] * up * open * (1 + gate * (1 - open)), 1e-5);
      EXPECT_NEAR(grad_x[up_at], grad[at] * gate * open, 1e-4);
    }
  }
}

TEST_P(Kernels, RotatesAShareOfEachHeadAndBack) {
  const std::int64_t rows = 3, heads = 2, width = 24, rotary = 20, stride = 80;
  const std::vector<float> before = normal(static_cast<std::size_t>(rows * stride), 6);
  std::vector<float> x = before, cosine, sine;
  for (int i = 0; i < rows * rotary / 2; ++i) cosine.push_back(std::cos(0.3F * i)), sine.push_back(std::sin(0.3F * i));
  kernels().rotate(x.data(), cosine.data(), sine.data(), rows, stride, heads, width, rotary, false);
  const auto at = [&](int row, int head, int e) { return static_cast<std::size_t>(row * stride + head * width + e); };
  for (int row = 0; row < rows; ++row) {
    for (int head = 0; head < heads; ++head)
      for (int i = 0; i < rotary / 2; ++i) {
        const auto angle = static_cast<std::size_t>(row * rotary / 2 + i);
        const double a = before[at(row, head, i)], b = before[at(row, head, i + rotary / 2)];
        EXPECT_NEAR(x[at(row, head, i)], a * cosine[angle] - b * sine[angle], 1e-6);
        EXPECT_NEAR(x[at(row, head, i + rotary / 2)], b * cosine[angle] + a * sine[angle], 1e-6);
      }
    for (int head = 0; head < heads; ++head)
      for (std::int64_t e = rotary; e < width; ++e)
        EXPECT_EQ(x[at(row, head, static_cast<int>(e))], before[at(row, head, static_cast<int>(e))]);
    for (std::int64_t e = heads * width; e < stride; ++e)
      EXPECT_EQ(x[static_cast<std::size_t>(row * stride + e)], before[static_cast<std::size_t>(row * stride + e)]);
  }
  kernels().rotate(x.data(), cosine.data(), sine.data(), rows, stride, heads, width, rotary, true);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], before[i], 1e-6);
}

// One key/value head with its queries: a prompt and two branches, longer than a block of keys.
struct Attended {
  std::int64_t tokens, shared, width;
  std::vector<AttentionSegment> segments;
  float softcap;
  std::int64_t window;

  std::int64_t row() const { return (shared + 2) * width; }
  AttentionTask task() const {
    return {segments.data(),
            static_cast<std::int64_t>(segments.size()),
            tokens,
            width,
            shared,
            row(),
            0,
            shared * width,
            (shared + 1) * width,
            shared * width,
            0,
            shared,
            0,
            0.25F,
            softcap,
            window};
  }
  std::vector<std::int64_t> keys_of(const AttentionSegment& segment, std::int64_t token) const {
    std::vector<std::int64_t> keys;
    for (std::int64_t key = 0; key < segment.prefix_length; ++key) keys.push_back(key);
    for (std::int64_t key = segment.begin; key <= token; ++key) keys.push_back(key);
    if (window > 0 && static_cast<std::int64_t>(keys.size()) > window) keys.erase(keys.begin(), keys.end() - window);
    return keys;
  }
};

struct Gold {
  std::vector<double> out, grad;
  std::vector<double> scale;  // of an output: its sum with all values positive
};

Gold attend_in_double(const Attended& a, const std::vector<float>& qkv, const std::vector<float>& grad_out) {
  const std::vector<double> nothing(static_cast<std::size_t>(a.tokens * a.shared * a.width));
  Gold gold{nothing, std::vector<double>(qkv.size()), nothing};
  const auto element = [&](std::int64_t token, std::int64_t head, std::int64_t e) {
    return static_cast<std::size_t>(token * a.row() + head * a.width + e);
  };
  for (const AttentionSegment& segment : a.segments) {
    for (std::int64_t token = segment.begin; token < segment.end; ++token) {
      const std::vector<std::int64_t> keys = a.keys_of(segment, token);
      for (std::int64_t h = 0; h < a.shared; ++h) {
        const auto out_at = [&](std::int64_t e) { return static_cast<std::size_t>((token * a.shared + h) * a.width + e); };
        std::vector<double> share, slope, grad_share;
        double total = 0, mean = 0;
        for (const std::int64_t key : keys) {
          double logit = 0;
          for (std::int64_t e = 0; e < a.width; ++e) logit += 0.25 * qkv[element(token, h, e)] * qkv[element(key, a.shared, e)];
          const double bent = a.softcap > 0 ? std::tanh(logit / a.softcap) : 0;
          share.push_back(std::exp(a.softcap > 0 ? a.softcap * bent : logit));
          slope.push_back(1 - bent * bent);
          total += share.back();
        }
        for (std::size_t k = 0; k < keys.size(); ++k) {
          share[k] /= total;
          grad_share.push_back(0);
          for (std::int64_t e = 0; e < a.width; ++e) {
            const double value = qkv[element(keys[k], a.shared + 1, e)];
            gold.out[out_at(e)] += share[k] * value;
            gold.scale[out_at(e)] += share[k] * std::abs(value);
            grad_share[k] += grad_out[out_at(e)] * value;
            gold.grad[element(keys[k], a.shared + 1, e)] += share[k] * grad_out[out_at(e)];
          }
          mean += share[k] * grad_share[k];
        }
        for (std::size_t k = 0; k < keys.size(); ++k) {
          const double of_logit = 0.25 * share[k] * (grad_share[k] - mean) * slope[k];
          for (std::int64_t e = 0; e < a.width; ++e) {
            gold.grad[element(token, h, e)] += of_logit * qkv[element(keys[k], a.shared, e)];
            gold.grad[element(keys[k], a.shared, e)] += of_logit * qkv[element(token, h, e)];
          }
        }
      }
    }
  }
  return gold;
}

const Attended kCases[] = {
    {170, 3, 16, {{0, 140, 0}, {140, 160, 140}, {160, 170, 140}}, 0, 0},
    {170, 3, 16, {{0, 140, 0}, {140, 160, 140}, {160, 170, 140}}, 0, 9},
    {300, 1, 10, {{0, 5, 0}, {5, 290, 5}, {290, 300, 5}}, 2.0F, 0},
    {60, 50, 8, {{0, 60, 0}}, 0, 0},  // more heads to a key than a block has rows
    {1, 2, 33, {{0, 1, 0}}, 0, 1},
    {301, 3, 64, {{0, 141, 0}, {141, 222, 141}, {222, 301, 141}}, 0, 0},
    {70, 70, 8, {{0, 33, 0}, {33, 70, 33}}, 0, 12},
};

TEST_P(Kernels, AttentionAndItsGradient) {
  for (const Attended& a : kCases) {
    const std::vector<float> qkv = normal(static_cast<std::size_t>(a.tokens * a.row()), 7);
    const std::vector<float> grad_out = normal(static_cast<std::size_t>(a.tokens * a.shared * a.width), 8);
    std::vector<float> out(grad_out.size()), log_sum(static_cast<std::size_t>(a.tokens * a.shared)), grad(qkv.size(), NAN);
    kernels().attention(a.task(), qkv.data(), out.data(), log_sum.data());
    kernels().attention_backward(a.task(), qkv.data(), out.data(), grad_out.data(), log_sum.data(), grad.data());
    const Gold gold = attend_in_double(a, qkv, grad_out);
    for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], gold.out[i], 1e-5) << i;
    for (std::size_t i = 0; i < grad.size(); ++i) ASSERT_NEAR(grad[i], gold.grad[i], 1e-4) << i;
  }
}

// Outputs are float32's, rounded once; AMX's kernels round shares and the logits' gradients, too.
void expect_bfloat16_attention(const CpuKernels& kernels, const Attended& a, double of_grad) {
  const double rounding = std::string(kernels.instruction_set).ends_with("AMX") ? 1.0 / 256 : 0;
  std::vector<Bfloat16Bits> qkv, grad_out;
  std::vector<float> wide, wide_grad;
  for (const float value : normal(static_cast<std::size_t>(a.tokens * a.row()), 7))
    qkv.push_back(to_bits(value)), wide.push_back(from_bits(qkv.back()));
  for (const float value : normal(static_cast<std::size_t>(a.tokens * a.shared * a.width), 8))
    grad_out.push_back(to_bits(value)), wide_grad.push_back(from_bits(grad_out.back()));
  std::vector<Bfloat16Bits> out(grad_out.size()), grad(qkv.size());
  std::vector<float> log_sum(static_cast<std::size_t>(a.tokens * a.shared));
  kernels.bfloat16.attention(a.task(), qkv.data(), out.data(), log_sum.data());
  kernels.bfloat16.attention_backward(a.task(), qkv.data(), out.data(), grad_out.data(), log_sum.data(), grad.data());
  const Gold gold = attend_in_double(a, wide, wide_grad);
  for (std::size_t i = 0; i < out.size(); ++i)
    ASSERT_NEAR(from_bits(out[i]), gold.out[i], 1e-5 + std::abs(gold.out[i]) / 256 + rounding * gold.scale[i]) << i;
  // The backward pass reads the rounded output.
  for (std::size_t i = 0; i < grad.size(); ++i) ASSERT_NEAR(from_bits(grad[i]), gold.grad[i], of_grad + std::abs(gold.grad[i]) / 128) << i;
}

TEST_P(Kernels, AttentionInBfloat16) {
  // Keys that more queries see sum up more roundings of their outputs.
  for (const Attended& a : kCases) expect_bfloat16_attention(all(), a, &a == kCases ? 0.02 : 0.03);
}

TEST_P(Kernels, RoundingKeepsNanAndInfinity) {
  const std::vector<float> x = {NAN, INFINITY, -INFINITY, 1.00390625F, 3.3895314e38F, 0.0F, 2.0F, -1.0F};  // a tie goes to the even 1.0
  std::vector<Bfloat16Bits> turned(16);
  for (std::size_t i = 0; i < 8; ++i) turned[i] = to_bits(x[i]), turned[i + 8] = to_bits(1.0F);
  std::vector<Bfloat16Bits> out(8);
  all().bfloat16.silu_gate(turned.data(), 1, 8, out.data());
  EXPECT_TRUE(std::isnan(from_bits(out[0])));
  EXPECT_EQ(from_bits(out[1]), INFINITY);
  EXPECT_FALSE(std::isfinite(from_bits(out[2])));
  EXPECT_EQ(from_bits(out[5]), 0.0F);
}

TEST_P(Kernels, WeightsAreRoundedAndShifted) {
  constexpr std::int64_t kCount = 133;
  const std::vector<float> x = normal(kCount, 11), direction = normal(kCount, 12);
  std::vector<std::uint16_t> noise(kCount);
  std::mt19937 random(13);
  for (std::uint16_t& bits : noise) bits = static_cast<std::uint16_t>(random());
  for (const std::uint16_t* drawn : {static_cast<const std::uint16_t*>(nullptr), static_cast<const std::uint16_t*>(noise.data())}) {
    const auto rounded = [&](float value, std::size_t i) {
      const auto bits = __builtin_bit_cast(std::uint32_t, value);
      const std::uint32_t added = drawn != nullptr ? drawn[i] : 0x7fffU + ((bits >> 16) & 1U);
      return static_cast<std::uint16_t>((bits + added) >> 16);
    };
    std::vector<Bfloat16Bits> copy(kCount);
    all().round_weights({x.data(), nullptr, 0, drawn, kCount}, copy.data());
    for (std::size_t i = 0; i < copy.size(); ++i) ASSERT_EQ(copy[i].bits, rounded(x[i], i));
    const std::vector<Bfloat16Bits> before = copy;
    const WeightTask task{x.data(), direction.data(), 0.125F, drawn, kCount};  // so that a product and a sum round once either way
    const WeightShift shift = all().shift_weights(task, copy.data());
    double kept = 0, length = 0;
    for (std::size_t i = 0; i < copy.size(); ++i) {
      const float step = direction[i] * 0.125F;
      ASSERT_EQ(copy[i].bits, rounded(x[i] + step, i));
      kept += (static_cast<double>(from_bits(copy[i])) - from_bits(before[i])) * step;
      length += static_cast<double>(step) * step;
    }
    EXPECT_NEAR(shift.kept, kept, 1e-5);
    EXPECT_NEAR(shift.length, length, 1e-5);
    std::vector<Bfloat16Bits> at_once(kCount);
    all().round_weights(task, at_once.data());
    for (std::size_t i = 0; i < copy.size(); ++i) ASSERT_EQ(at_once[i].bits, copy[i].bits);
    std::vector<float> sum = x;
    all().add_gradient(copy.data(), kCount, sum.data());
    for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_EQ(sum[i], x[i] + from_bits(copy[i]));
  }
}

TEST_P(Kernels, ExponentialsOfTheDistanceToTheHighest) {
  std::vector<float> x = normal(37, 9), out(37);
  x[36] = 9, x[3] = -1000, x[5] = -INFINITY;
  all().exponentials(x.data(), 37, 2.5F, out.data());
  for (std::size_t i = 0; i < x.size(); ++i)
    EXPECT_NEAR(out[i], std::exp((static_cast<double>(x[i]) - 9) * 2.5), 4e-6 * out[i] + 2e-38) << i;
}

TEST_P(Kernels, RowsTimesPanels) {
  const std::int64_t columns = all().panel_columns, out_stride = columns + 3;
  for (const std::int64_t rows : {1, 2, 7, 13, 32}) {
    for (const std::int64_t depth : {1, 255, 600}) {
      const std::vector<float> x = normal(static_cast<std::size_t>(rows * depth), 10),
                               scale = normal(static_cast<std::size_t>(columns), 11);
      const auto n = static_cast<std::size_t>(depth * columns);
      std::vector<float> panel = normal(n, 12), out(static_cast<std::size_t>(rows * out_stride));
      std::vector<Bfloat16Bits> narrow(n);
      std::vector<std::int8_t> bytes(n);
      for (std::size_t i = 0; i < n; ++i) {
        bytes[i] = static_cast<std::int8_t>(std::clamp(std::round(panel[i] * 60), -128.0F, 127.0F));
        narrow[i] = to_bits(panel[i]);
      }
      const PanelTask task{rows, depth, x.data(), depth, out.data(), out_stride};
      const auto expect = [&](const auto& weight, bool scaled) {
        for (std::int64_t row = 0; row < rows; ++row)
          for (std::int64_t c = 0; c < columns; ++c) {
            double sum = 0, size = 0;
            for (std::int64_t k = 0; k < depth; ++k) {
              const double term =
                  static_cast<double>(x[static_cast<std::size_t>(row * depth + k)]) * weight(static_cast<std::size_t>(k * columns + c));
              sum += term, size += std::abs(term);
            }
            const double factor = scaled ? scale[static_cast<std::size_t>(c)] : 1.0;
            ASSERT_NEAR(out[static_cast<std::size_t>(row * out_stride + c)], sum * factor, 1e-6 * (1 + size * std::abs(factor)));
          }
      };
      all().multiply_float32_panel(task, panel.data(), nullptr);
      expect([&](std::size_t i) { return panel[i]; }, false);
      all().multiply_bfloat16_panel(task, narrow.data(), nullptr);
      expect([&](std::size_t i) { return from_bits(narrow[i]); }, false);
      all().multiply_int8_panel(task, bytes.data(), scale.data());
      expect([&](std::size_t i) { return bytes[i]; }, true);
    }
  }
}

TEST_P(Kernels, RowsTimesPairs) {
  if (all().multiply_pairs == nullptr) GTEST_SKIP() << "no tiles in this instruction set";
  const std::int64_t out_stride = kPairColumns + 5;
  for (const std::int64_t rows : {16, 32, 48}) {
    for (const std::int64_t depth : {32, 96}) {
      std::vector<Bfloat16Bits> x, panel;
      for (const float value : normal(static_cast<std::size_t>(rows * depth), 10)) x.push_back(to_bits(value));
      for (const float value : normal(static_cast<std::size_t>(depth * kPairColumns), 11)) panel.push_back(to_bits(value));
      std::vector<float> out(static_cast<std::size_t>(rows * out_stride), -1);
      all().multiply_pairs({rows, depth, x.data(), out.data(), out_stride}, reinterpret_cast<const std::uint32_t*>(panel.data()));
      for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t c = 0; c < out_stride; ++c) {
          double sum = 0, size = 0;
          for (std::int64_t k = 0; c < kPairColumns && k < depth; ++k) {
            const double term = static_cast<double>(from_bits(x[static_cast<std::size_t>(row * depth + k)])) *
                                from_bits(panel[static_cast<std::size_t>(k / 2 * 2 * kPairColumns + 2 * c + k % 2)]);
            sum += term, size += std::abs(term);
          }
          ASSERT_NEAR(out[static_cast<std::size_t>(row * out_stride + c)], c < kPairColumns ? sum : -1, 1e-6 * (1 + size));
        }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(InstructionSets, Kernels, testing::ValuesIn(tested_kernels()), [](const auto& of) {
  std::string name = of.param->instruction_set;
  std::erase_if(name, [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); });
  return name;
});

}  // namespace
}  // namespace metarm
