#include "metarm/model/common_options.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>

#include "metarm/base/error.h"
#include "metarm/model/matrix_product.h"

namespace metarm {

std::optional<Pooling> ScoringOptions::fixed_pooling() const {
  switch (pooling) {
    case PoolingChoice::automatic: return std::nullopt;
    case PoolingChoice::last_not_pad: return Pooling::last_not_pad;
    case PoolingChoice::last: return Pooling::last;
  }
  return std::nullopt;
}

at::Device resolve_device(const CommonOptions& options) {
  if (options.threads > 0) at::set_num_threads(static_cast<int>(options.threads));
  const bool cuda = at::globalContext().hasCUDA();
  if (options.device == DeviceChoice::cuda && !cuda)
    fail_input("--device cuda: expected a CUDA GPU and a torch built for it, got none; use --device cpu");
  return options.device != DeviceChoice::cpu && cuda ? at::Device(at::kCUDA, 0) : at::Device(at::kCPU);
}

at::ScalarType resolve_dtype(const CommonOptions& options, at::Device device, Work work) {
  switch (options.dtype) {
    case DTypeChoice::float32: return at::kFloat;
    case DTypeChoice::bfloat16: return at::kBFloat16;
    case DTypeChoice::automatic: break;
  }
  if (work == Work::scoring) return at::kFloat;
  return device.is_cuda() || multiplies_bfloat16() ? at::kBFloat16 : at::kFloat;
}

}  // namespace metarm
