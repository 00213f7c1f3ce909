#include "metarm/model/cpu_kernels.h"

namespace metarm {

extern const CpuKernels kCpuKernelsPlain;
#if defined(__x86_64__)
extern const CpuKernels kCpuKernelsAvx2, kCpuKernelsAvx512;
#endif

CpuKernelList list_cpu_kernels() {
  CpuKernelList list{{}, 0};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl"))
    list.kernels[list.count++] = &kCpuKernelsAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) list.kernels[list.count++] = &kCpuKernelsAvx2;
#endif
  list.kernels[list.count++] = &kCpuKernelsPlain;
  return list;
}

const CpuKernels& cpu_kernels() {
  static const CpuKernels& best = *list_cpu_kernels().kernels[0];
  return best;
}

}  // namespace metarm
