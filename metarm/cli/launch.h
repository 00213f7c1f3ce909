// The ranks that mpirun or Slurm started this process as one of. This and api_key.h alone read the environment.
#pragma once

#include <memory>

#include "metarm/base/ranks.h"

namespace metarm {

struct Launch {
  int rank = 0, size = 1;
  int on_this_machine = 1;
};
// As the launcher's variables say: Open MPI's, MPICH's (PMI), or those of srun.
Launch read_launch();

// Joins the launched ranks, or is one rank alone. Sets the default number of threads to this rank's cores, and leaves standard output to
// the first rank. Errors as make_mpi_ranks.
std::unique_ptr<Ranks> join_ranks(const Launch& launch);

}  // namespace metarm
