// Processes that work on one run together, started by `mpirun -n R` or Slurm: ranks 0 to R - 1. The one seam between what a run computes
// and how many processes compute it. Without a launcher a run has one rank, and every member below does nothing or the obvious.
//
// A flat vector (weights, gradients, moments) is cut into one part a rank; who owns a part sums, steps and keeps it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace metarm {

struct Part {
  std::int64_t begin, end;
  std::int64_t size() const { return end - begin; }
};
// The part of `total` elements that `rank` of `size` owns: equal ones, cut at multiples of 64; the last may be smaller or empty.
Part part_of(std::int64_t total, int rank, int size);

// The rows that `rank` of `size` takes, in ascending order, so that the ranks' costs are near each other: the costliest row first, each to
// the rank that has least. A function of the costs alone.
std::vector<std::int64_t> rows_of_rank(std::span<const std::int64_t> costs, int rank, int size);
// The same by consecutive rows, for what is told apart by its place.
Part consecutive_rows_of_rank(std::span<const std::int64_t> costs, int rank, int size);

// Every rank calls the members marked "all" in the same order, else they wait for ever. io and internal errors end the whole run.
class Ranks {
 public:
  virtual ~Ranks() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  bool first() const { return rank() == 0; }
  virtual std::int64_t cores() const = 0;  // for this rank: those it may use, over the ranks that may use the same

  virtual void sum(std::span<double> values) = 0;  // all: each rank has the same sums, to the last bit
  // all: begins to sum `values` over the ranks into those of `owner`, while the caller goes on; the other ranks' values stay. Until wait()
  // returns `values` must not be touched, and sums are made in the order in which they were begun.
  virtual void start_sum(std::span<float> values, int owner) = 0;
  virtual void drop_sums() = 0;  // forgets the sums begun, where an error ends the run
  virtual void wait() = 0;       // for the sums begun
  virtual void gather_parts(
      std::span<float> whole) = 0;  // all: each rank has filled its part_of(whole.size()); in the end every rank has all
  // all: the parts of all ranks to rank 0, whose `whole` takes them; elsewhere `whole` is empty.
  virtual void gather_to_first(std::span<const float> part, std::span<float> whole) = 0;
  virtual std::vector<std::string> gather_to_first(const std::string& text) = 0;  // all: one text a rank, in order, on rank 0; else none
  virtual void barrier() = 0;                                                     // all

  // Whether this rank is the one that reports a failure; asked by every rank that fails, true for one of them on each machine.
  virtual bool claim_report() = 0;
  // Ends all ranks with an exit code; returns where there is no other.
  virtual void end_all(int exit_code) = 0;
};

std::unique_ptr<Ranks> make_single_rank();

// The ranks that a launcher started, `launched` of them. Input error where this program was built without MPI, or where MPI finds another
// number of ranks.
std::unique_ptr<Ranks> make_mpi_ranks(int launched);

}  // namespace metarm
