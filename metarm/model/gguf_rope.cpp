#include "metarm/model/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "metarm/base/error.h"
#include "metarm/base/gguf_dequantize.h"

namespace metarm {

namespace {

constexpr double kLow = 1.0, kHigh = 4.0;  // Llama 3's low_freq_factor and high_freq_factor
constexpr std::int64_t kContexts[] = {8192, 1024, 2048, 4096, 16384, 32768, 65536, 131072};  // Llama 3's own first

// What Llama 3's scaling divides the frequency theta^(-2 i / width) by.
double divisor(double factor, std::int64_t context, double theta, std::size_t i, std::int64_t width) {
  const double wavelength = 2 * std::numbers::pi * std::pow(theta, 2.0 * static_cast<double>(i) / static_cast<double>(width));
  const double turns = static_cast<double>(context) / wavelength;
  if (turns > kHigh) return 1;
  if (turns < kLow) return factor;
  const double share = (turns - kLow) / (kHigh - kLow);
  return 1 / ((1 - share) / factor + share);
}

bool matches(const std::vector<float>& divisors, double factor, std::int64_t context, double theta) {
  for (std::size_t i = 0; i < divisors.size(); ++i) {
    const double expected = divisor(factor, context, theta, i, 2 * static_cast<std::int64_t>(divisors.size()));
    if (!(std::abs(divisors[i] - expected) <= 1e-3 * expected)) return false;
  }
  return true;
}

Json llama3_scaling(const GgufFile& file, const GgufTensor& tensor, double theta, std::int64_t rotary_width) {
  if (tensor.count() != rotary_width / 2)
    fail_input("{}: {}: expected {} values, got {}", file.where(), tensor.name, rotary_width / 2, tensor.count());
  std::vector<float> divisors(static_cast<std::size_t>(tensor.count()));
  dequantize(tensor.type, tensor.bytes, divisors);
  const double factor = *std::max_element(divisors.begin(), divisors.end());
  if (matches(divisors, 1, kContexts[0], theta)) return nullptr;
  for (const std::int64_t context : kContexts)
    if (matches(divisors, factor, context, theta))
      return {{"rope_type", "llama3"},
              {"factor", factor},
              {"low_freq_factor", kLow},
              {"high_freq_factor", kHigh},
              {"original_max_position_embeddings", context}};
  fail_input("{}: {}: expected the frequency divisors of Llama 3's rotary scaling, got others, which are not supported", file.where(),
             tensor.name);
}

}  // namespace

Json make_gguf_rope_scaling(const GgufFile& file, const std::string& architecture, double theta, std::int64_t rotary_width) {
  const std::string key = architecture + ".rope.scaling.type";
  const std::string_view type = file.text(key).value_or("none");
  if (type != "none" && type != "linear")
    fail_input("{}: {}: expected none or linear, got {}, which is not supported", file.where(), key, type);
  const GgufTensor* divisors = file.find_tensor("rope_freqs.weight");
  if (type == "linear" && divisors != nullptr) fail_input("{}: {}: expected none beside rope_freqs.weight, got linear", file.where(), key);
  if (type == "linear") return {{"rope_type", "linear"}, {"factor", file.require_number(architecture + ".rope.scaling.factor")}};
  return divisors == nullptr ? Json() : llama3_scaling(file, *divisors, theta, rotary_width);
}

}  // namespace metarm
