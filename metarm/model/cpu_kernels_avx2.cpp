#if defined(__x86_64__)
#define METARM_VECTOR_FLOATS 8
#define METARM_TILE_ROWS 6
#define METARM_KERNELS kCpuKernelsAvx2
#define METARM_KERNELS_NAME "AVX2"
#include "metarm/model/cpu_kernels_loops.h"
#endif
