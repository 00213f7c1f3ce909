#define METARM_VECTOR_FLOATS 4
#define METARM_TILE_ROWS 6
#define METARM_KERNELS kCpuKernelsPlain
#define METARM_KERNELS_NAME "plain"
#include "metarm/model/cpu_kernels_loops.h"
