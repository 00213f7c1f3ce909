// The loops as wide and high as for AVX-512, in instructions that any processor has: where there is no AVX-512, their shapes are tested all
// the same.
#define METARM_VECTOR_FLOATS 16
#define METARM_TILE_ROWS 12
#define METARM_KERNELS kCpuKernelsWide
#define METARM_KERNELS_NAME "16 wide"
#include "metarm/model/cpu_kernels_loops.h"
