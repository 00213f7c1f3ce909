#include "metarm/model/cpu_kernels.h"

#if defined(__x86_64__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace metarm {

extern const CpuKernels kCpuKernelsPlain;
#if defined(__x86_64__)
extern const CpuKernels kCpuKernelsAvx2, kCpuKernelsAvx512, kCpuKernelsAmx;

namespace {

// Linux gives tiles to a process that asks for them.
bool get_tiles() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") && __builtin_cpu_supports("avx512bf16") &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

}  // namespace
#endif

CpuKernelList list_cpu_kernels() {
  CpuKernelList list{{}, 0};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    if (get_tiles()) list.kernels[list.count++] = &kCpuKernelsAmx;
    list.kernels[list.count++] = &kCpuKernelsAvx512;
  }
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
