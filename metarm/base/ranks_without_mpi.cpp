// Where no MPI was found at configure time.
#include "metarm/base/error.h"
#include "metarm/base/ranks.h"

namespace metarm {

std::unique_ptr<Ranks> make_mpi_ranks(int launched) {
  fail_input("ranks: expected one process, got {}: this program was built without MPI; install Open MPI (libopenmpi-dev) and build again",
             launched);
}

}  // namespace metarm
