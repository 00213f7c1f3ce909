#if defined(__x86_64__)
#define METARM_VECTOR_FLOATS 16
#define METARM_TILE_ROWS 12
#define METARM_KERNELS kCpuKernelsAvx512
#define METARM_KERNELS_NAME "AVX-512"
#include "metarm/model/cpu_kernels_loops.h"
#endif
