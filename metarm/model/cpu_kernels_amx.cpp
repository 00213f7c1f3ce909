#if defined(__x86_64__)
#define METARM_VECTOR_FLOATS 16
#define METARM_TILE_ROWS 12
#define METARM_TILES
#define METARM_KERNELS kCpuKernelsAmx
#define METARM_KERNELS_NAME "AVX-512 with AMX"
#include "metarm/model/cpu_kernels_loops.h"
#endif
