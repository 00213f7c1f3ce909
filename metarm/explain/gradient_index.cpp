#include "metarm/explain/gradient_index.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "metarm/base/error.h"
#include "metarm/base/safetensors.h"

namespace metarm {

namespace {

constexpr const char* kFormat = "metarm gradients 1";

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), static_cast<std::size_t>(tensor.nbytes())};
}

at::Tensor read(const SafetensorsFile& file, const char* name, DType dtype, at::ScalarType type, std::size_t dimensions,
                const std::string& path) {
  const auto found = std::ranges::find(file.tensors(), name, &TensorBytes::name);
  if (found == file.tensors().end() || found->dtype != dtype || found->shape.size() != dimensions)
    fail_input("{}: expected an index of gradients with the tensor {}, got none; remove the file to make it anew", path, name);
  at::Tensor tensor = at::empty(found->shape, type);
  std::memcpy(tensor.mutable_data_ptr(), found->bytes.data(), found->bytes.size());
  return tensor;
}

void check(const std::map<std::string, std::string>& metadata, const char* key, const char* of, const std::string& expected,
           const std::string& path) {
  const auto found = metadata.find(key);
  const std::string got = found == metadata.end() ? "none" : found->second;
  if (got != expected)
    fail_input("{}: expected gradients {} {}, got {}; remove the file to make them anew, or name another --index", path, of, expected, got);
}

}  // namespace

void save_gradient_index(const std::string& path, const GradientSource& source, const PairGradients& gradients) {
  const at::Tensor direction = gradients.direction_BD.contiguous(), length = gradients.length_B.contiguous();
  const TensorBytes tensors[] = {{"direction", DType::f32, direction.sizes().vec(), bytes_of(direction)},
                                 {"length", DType::f64, length.sizes().vec(), bytes_of(length)}};
  save_safetensors(path, tensors, {{"format", kFormat}, {"model", source.model}, {"pairs", source.pairs}, {"weights", source.weights}});
}

PairGradients load_gradient_index(const std::string& path, const GradientSource& source) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  check(file.metadata(), "format", "in the format", kFormat, path);
  check(file.metadata(), "weights", "of", source.weights, path);
  check(file.metadata(), "model", "of the model with digest", source.model, path);
  check(file.metadata(), "pairs", "of the pairs with digest", source.pairs, path);
  PairGradients gradients{read(file, "direction", DType::f32, at::kFloat, 2, path), read(file, "length", DType::f64, at::kDouble, 1, path)};
  if (gradients.direction_BD.size(0) != gradients.length_B.size(0))
    fail_input("{}: expected as many lengths as directions, {}, got {}; remove the file to make it anew", path,
               gradients.direction_BD.size(0), gradients.length_B.size(0));
  return gradients;
}

}  // namespace metarm
