#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/ranks.h"

namespace metarm {

namespace {

constexpr std::int64_t kMessage = std::int64_t{1} << 26;  // elements of one MPI call, whose counts are ints
constexpr std::int64_t kBlock = 64;                       // part_of's

// Calls `piece(offset, count)` for pieces of `size` elements that one MPI call may take.
template <class Piece>
void for_each_piece(std::size_t size, const Piece& piece) {
  const auto end = static_cast<std::int64_t>(size);
  for (std::int64_t begin = 0; begin < end; begin += kMessage) piece(begin, static_cast<int>(std::min(kMessage, end - begin)));
}

// Sums of spans into their owner's, one after another, on a thread of its own. No rank spins while another computes: a sum begins once all
// have reached it, and until then the thread sleeps.
class BackgroundSums {
 public:
  BackgroundSums(MPI_Comm world, int rank) : world_(world), rank_(rank), thread_([this] { run(); }) {}
  ~BackgroundSums() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void start(std::span<float> values, int owner) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back({values, owner});
    }
    changed_.notify_all();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    awaited_ = true;
    changed_.wait(lock, [this] { return queue_.empty(); });
    awaited_ = false;
  }

  void drop() {
    dropped_ = true;
    wait();
  }

 private:
  struct Sum {
    std::span<float> values;
    int owner;
  };

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return ended_ || !queue_.empty(); });
      if (ended_) return;
      const Sum next = queue_.front();
      lock.unlock();
      if (meet()) add(next);
      lock.lock();
      queue_.pop_front();
      changed_.notify_all();
    }
  }

  // False when the sums are dropped before all ranks are here.
  bool meet() {
    MPI_Request request;
    MPI_Ibarrier(world_, &request);
    for (int done = 0; MPI_Test(&request, &done, MPI_STATUS_IGNORE), done == 0;)
      if (dropped_)
        return false;
      else if (awaited_)
        sched_yield();
      else
        std::this_thread::sleep_for(std::chrono::microseconds(500));
    return true;
  }

  void add(const Sum& sum) const {
    for_each_piece(sum.values.size(), [&](std::int64_t begin, int count) {
      float* values = sum.values.data() + begin;
      if (sum.owner == rank_)
        MPI_Reduce(MPI_IN_PLACE, values, count, MPI_FLOAT, MPI_SUM, sum.owner, world_);
      else
        MPI_Reduce(values, nullptr, count, MPI_FLOAT, MPI_SUM, sum.owner, world_);
    });
  }

  const MPI_Comm world_;
  const int rank_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Sum> queue_;
  bool ended_ = false;
  std::atomic<bool> awaited_ = false, dropped_ = false;
  std::thread thread_;
};

class MpiRanks : public Ranks {
 public:
  explicit MpiRanks(int launched) {
    int level = 0;
    MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &level);
    if (level < MPI_THREAD_SERIALIZED) fail_input("ranks: expected an MPI that threads may call, got one for a single thread");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
    if (size_ != launched)
      fail_input("ranks: expected {} ranks, as many as were started, got {} from MPI; start them with mpirun, or srun --mpi=pmix", launched,
                 size_);
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &machine_);
    share_flag();
    count_cores();
    MPI_Type_contiguous(static_cast<int>(kBlock), MPI_FLOAT, &block_);
    MPI_Type_commit(&block_);
    sums_ = std::make_unique<BackgroundSums>(MPI_COMM_WORLD, rank_);
  }

  ~MpiRanks() override {
    sums_.reset();
    MPI_Type_free(&block_);
    MPI_Win_free(&flag_window_);
    MPI_Comm_free(&machine_);
    MPI_Finalize();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::int64_t cores() const override { return cores_; }

  void sum(std::span<double> values) override {
    sums_->wait();
    for_each_piece(values.size(), [&](std::int64_t begin, int count) {
      double* piece = values.data() + begin;
      MPI_Reduce(rank_ == 0 ? MPI_IN_PLACE : piece, rank_ == 0 ? piece : nullptr, count, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
      MPI_Bcast(piece, count, MPI_DOUBLE, 0, MPI_COMM_WORLD);
    });
  }

  void start_sum(std::span<float> values, int owner) override { sums_->start(values, owner); }
  void wait() override { sums_->wait(); }
  void drop_sums() override { sums_->drop(); }

  void gather_parts(std::span<float> whole) override {
    sums_->wait();
    const auto total = static_cast<std::int64_t>(whole.size());
    std::vector<int> counts, offsets;
    for (int r = 0; r < size_; ++r) {
      const Part part = part_of(total, r, size_);
      offsets.push_back(static_cast<int>(part.begin / kBlock));
      counts.push_back(static_cast<int>(part.end / kBlock) - offsets.back());
    }
    MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, whole.data(), counts.data(), offsets.data(), block_, MPI_COMM_WORLD);
    const auto rest = static_cast<int>(total % kBlock);  // of the last part that is not empty
    if (rest == 0) return;
    int owner = size_ - 1;
    while (part_of(total, owner, size_).size() == 0) --owner;
    MPI_Bcast(whole.data() + total - rest, rest, MPI_FLOAT, owner, MPI_COMM_WORLD);
  }

  void gather_to_first(std::span<const float> part, std::span<float> whole) override {
    sums_->wait();
    if (rank_ != 0) {
      for_each_piece(part.size(),
                     [&](std::int64_t begin, int count) { MPI_Send(part.data() + begin, count, MPI_FLOAT, 0, 0, MPI_COMM_WORLD); });
      return;
    }
    std::ranges::copy(part, whole.begin());
    for (int r = 1; r < size_; ++r) {
      const Part of_rank = part_of(static_cast<std::int64_t>(whole.size()), r, size_);
      for_each_piece(static_cast<std::size_t>(of_rank.size()), [&](std::int64_t begin, int count) {
        MPI_Recv(whole.data() + of_rank.begin + begin, count, MPI_FLOAT, r, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      });
    }
  }

  std::vector<std::string> gather_to_first(const std::string& text) override {
    sums_->wait();
    std::vector<std::string> texts;
    if (rank_ != 0) {
      const std::uint64_t size = text.size();
      MPI_Send(&size, 1, MPI_UINT64_T, 0, 0, MPI_COMM_WORLD);
      for_each_piece(size, [&](std::int64_t begin, int count) { MPI_Send(text.data() + begin, count, MPI_CHAR, 0, 0, MPI_COMM_WORLD); });
      return texts;
    }
    texts.push_back(text);
    for (int r = 1; r < size_; ++r) {
      std::uint64_t size = 0;
      MPI_Recv(&size, 1, MPI_UINT64_T, r, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      std::string& received = texts.emplace_back(size, '\0');
      for_each_piece(size, [&](std::int64_t begin, int count) {
        MPI_Recv(received.data() + begin, count, MPI_CHAR, r, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      });
    }
    return texts;
  }

  void barrier() override {
    sums_->wait();
    MPI_Barrier(MPI_COMM_WORLD);
  }

  bool claim_report() override {
    // An error that all ranks have is the first machine's to report, which ends the others meanwhile.
    if (!with_first_) std::this_thread::sleep_for(std::chrono::seconds(1));
    return std::atomic_ref(*flag_).exchange(1) == 0;
  }

  void end_all(int exit_code) override { MPI_Abort(MPI_COMM_WORLD, exit_code); }

 private:
  // One integer a machine, in memory that its ranks share: who claims the report.
  void share_flag() {
    int machine_rank = 0, first_of_machine = rank_;
    MPI_Comm_rank(machine_, &machine_rank);
    MPI_Bcast(&first_of_machine, 1, MPI_INT, 0, machine_);
    with_first_ = first_of_machine == 0;
    MPI_Win_allocate_shared(machine_rank == 0 ? sizeof(int) : 0, sizeof(int), MPI_INFO_NULL, machine_, &flag_, &flag_window_);
    MPI_Aint bytes = 0;
    int unit = 0;
    MPI_Win_shared_query(flag_window_, 0, &bytes, &unit, &flag_);
    if (machine_rank == 0) std::atomic_ref(*flag_).store(0);
    MPI_Barrier(machine_);
  }

  // mpirun may bind each rank to cores of its own, or leave all cores to all.
  void count_cores() {
    int machine_size = 1;
    MPI_Comm_size(machine_, &machine_size);
    cpu_set_t own;
    CPU_ZERO(&own);
    sched_getaffinity(0, sizeof(own), &own);
    std::vector<cpu_set_t> sets(static_cast<std::size_t>(machine_size));
    MPI_Allgather(&own, sizeof(own), MPI_BYTE, sets.data(), sizeof(own), MPI_BYTE, machine_);
    const auto alike = std::ranges::count_if(sets, [&](const cpu_set_t& set) { return CPU_EQUAL(&set, &own) != 0; });
    cores_ = std::max<std::int64_t>(1, CPU_COUNT(&own) / std::max<std::int64_t>(1, alike));
  }

  int rank_ = 0, size_ = 1;
  std::int64_t cores_ = 1;
  bool with_first_ = true;  // on the machine of rank 0
  MPI_Comm machine_ = MPI_COMM_NULL;
  MPI_Win flag_window_ = MPI_WIN_NULL;
  int* flag_ = nullptr;
  MPI_Datatype block_ = MPI_DATATYPE_NULL;
  std::unique_ptr<BackgroundSums> sums_;
};

}  // namespace

std::unique_ptr<Ranks> make_mpi_ranks(int launched) { return std::make_unique<MpiRanks>(launched); }

}  // namespace metarm
