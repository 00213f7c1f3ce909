#include "metarm/cli/launch.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "metarm/base/error.h"

namespace metarm {

namespace {

struct Names {
  const char *rank, *size, *on_this_machine;
};
// srun's own come last: under it a launcher's are more exact. SLURM_NTASKS would also be there in a batch script that starts one process.
constexpr Names kLaunchers[] = {{"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE"},
                                {"PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS"},
                                {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_TASKS_PER_NODE"}};

int number(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

void warn_of_idle_cores(const Launch& launch, std::int64_t cores) {
  const std::int64_t share = sysconf(_SC_NPROCESSORS_ONLN) / std::max(1, launch.on_this_machine);
  if (2 * cores <= share)
    fmt::print(stderr,
               "warning: each rank is bound to {} of this machine's cores, {} would be its share; start with mpirun --bind-to none\n",
               cores, share);
}

}  // namespace

Launch read_launch() {
  for (const Names& names : kLaunchers)
    if (std::getenv(names.size) != nullptr) return {number(names.rank, 0), number(names.size, 1), number(names.on_this_machine, 1)};
  return {};
}

std::unique_ptr<Ranks> join_ranks(const Launch& launch) {
  if (launch.size <= 1) return make_single_rank();
  std::unique_ptr<Ranks> ranks = make_mpi_ranks(launch.size);
  at::set_num_threads(static_cast<int>(ranks->cores()));
  if (ranks->first())
    warn_of_idle_cores(launch, ranks->cores());
  else if (std::freopen("/dev/null", "w", stdout) == nullptr)
    fail_io("stdout: could not be left to the first rank");
  return ranks;
}

}  // namespace metarm
