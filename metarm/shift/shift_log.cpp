#include "metarm/shift/shift_log.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::size_t kBatchRows = 1024;
constexpr auto kTryAgain = 1s;
constexpr auto kLookForOldRows = 60s;

// Bytes that are no UTF-8 become U+FFFD: a log is no place to fail.
std::string to_text(const Content& content) { return to_json(content).dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string free_name(const std::string& path) {
  for (int n = 1;; ++n)
    if (std::string name = fmt::format("{}.damaged-{}", path, n); !fs::exists(name) && !fs::exists(name + "-wal")) return name;
}

}  // namespace

ShiftLog::ShiftLog(const ShiftLogOptions& options, Log& log)
    : options_(options), log_(log), sampler_(options.rows_per_s, options.burst_s, options.seed) {
  lock_file();
  try {
    open_store(true);
    thread_ = std::thread([this] { write_all(); });
  } catch (...) {
    close(lock_);
    throw;
  }
}

ShiftLog::~ShiftLog() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  work_.notify_all();
  thread_.join();
  if (!queue_.empty()) log_.warn(fmt::format("{}: {} rows could not be written: {}", options_.path, queue_.size(), state_.error));
  store_.reset();
  close(lock_);
}

// A file of its own: SQLite's locks end when any descriptor of the database is closed in this process.
void ShiftLog::lock_file() {
  const std::string path = options_.path + ".lock";
  lock_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (lock_ < 0) fail_io("{}: expected to write, got: {}", path, std::strerror(errno));
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return;
  close(lock_);
  fail_input("{}: expected no other process to use it, got one that does; stop it, or name another file", options_.path);
}

void ShiftLog::open_store(bool check) {
  const auto open = [&] { store_ = std::make_unique<ShiftStore>(options_.path, options_.limits, options_.redact, check); };
  try {
    open();
  } catch (const DatabaseError& error) {
    if (!error.damaged()) throw;
    move_aside(error.what());
    open();
  }
  const std::lock_guard lock(mutex_);
  state_.rows = store_->rows();
  state_.bytes = store_->bytes();
}

// With its write-ahead log, which may hold what the file lacks.
void ShiftLog::move_aside(const std::string& reason) {
  store_.reset();
  const std::string name = free_name(options_.path);
  for (const char* part : {"-shm", "-wal", ""}) {
    const std::string from = options_.path + part;
    if (fs::exists(from) && rename(from.c_str(), (name + part).c_str()) != 0)
      fail_io("{}: expected to move it aside, got: {}", from, std::strerror(errno));
  }
  const std::string said = fmt::format("{}; it is now {}, and a new shift log begins", reason, name);
  log_.warn(said);
  const std::lock_guard lock(mutex_);
  state_.moved_aside.push_back(said);
}

std::uint64_t ShiftLog::add(const ScoredResponse& row) {
  if (!std::isfinite(row.reward)) fail_internal("shift log: expected a finite reward, got {}", row.reward);
  Queued queued{{to_text(row.prompt), to_text(row.response), row.reward, row.version, row.time_s, row.step, row.form}, 0};
  queued.bytes = static_cast<std::int64_t>(queued.row.prompt.size() + queued.row.response.size());
  const std::uint64_t prompt = derive_seed(0, queued.row.prompt);
  const std::lock_guard lock(mutex_);
  ++state_.offered;
  if (!sampler_.keep(prompt, row.time_s)) {
    ++state_.sampled_out;
    return 0;
  }
  if (static_cast<std::int64_t>(queue_.size()) >= options_.queue_rows || queue_bytes_ + queued.bytes > options_.queue_bytes) {
    ++state_.dropped;
    return 0;
  }
  queue_bytes_ += queued.bytes;
  queue_.push_back(std::move(queued));
  work_.notify_one();
  return static_cast<std::uint64_t>(++state_.accepted);
}

bool ShiftLog::wait(std::uint64_t ticket, std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  return written_.wait_for(lock, at_most, [&] { return static_cast<std::uint64_t>(state_.acknowledged) >= ticket; });
}

std::vector<ResponseGroup> ShiftLog::draw(const GroupDraw& draw) const {
  if (options_.redact) fail_input("{}: expected a log with texts to draw response groups from, got a redacted one", options_.path);
  return draw_groups(options_.path, draw);
}

void ShiftLog::replay(const std::string& version,
                      const std::function<void(std::uint64_t prompt, std::uint64_t response, double reward)>& row) const {
  Database database(options_.path, Database::Access::read);
  Statement rows(database,
                 "SELECT prompt, hash, reward FROM responses WHERE version = ?1 AND id > "
                 "COALESCE((SELECT id FROM responses WHERE version <> ?1 ORDER BY id DESC LIMIT 1), 0) ORDER BY id");
  rows.bind(1, std::string_view(version));
  while (rows.step()) row(derive_seed(0, std::to_string(rows.integer(0))), derive_seed(0, rows.bytes(1)), rows.real(2));
}

ShiftLogState ShiftLog::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

// The writing thread.
void ShiftLog::write_all() {
  for (;;) {
    const std::vector<const StoredResponse*> batch = take_batch();
    const bool written = write(batch);
    std::unique_lock lock(mutex_);
    if (closed_ && (queue_.empty() || !written)) return;
    if (!written) work_.wait_for(lock, kTryAgain, [&] { return closed_; });
  }
}

// Elements of a deque stay where they are while others are added behind them.
std::vector<const StoredResponse*> ShiftLog::take_batch() {
  std::unique_lock lock(mutex_);
  work_.wait_for(lock, kLookForOldRows, [&] { return closed_ || !queue_.empty(); });
  std::vector<const StoredResponse*> batch;
  for (std::size_t i = 0; i < std::min(kBatchRows, queue_.size()); ++i) batch.push_back(&queue_[i].row);
  return batch;
}

bool ShiftLog::write(const std::vector<const StoredResponse*>& batch) {
  try {
    if (!store_) open_store(false);
    store_->append(batch);
    acknowledge(batch.size());
    return true;
  } catch (const DatabaseError& error) {
    note_failure(error.what());
    if (error.damaged()) {
      try {
        move_aside(error.what());
      } catch (const Error& second) {
        note_failure(second.what());
      }
    }
  } catch (const std::exception& error) {
    note_failure(error.what());
  }
  store_.reset();
  return false;
}

void ShiftLog::acknowledge(std::size_t rows) {
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < rows; ++i) {
      queue_bytes_ -= queue_.front().bytes;
      queue_.pop_front();
    }
    state_.acknowledged += static_cast<std::int64_t>(rows);
    state_.removed += state_.rows + static_cast<std::int64_t>(rows) - store_->rows();
    state_.rows = store_->rows();
    state_.bytes = store_->bytes();
    state_.error.clear();
  }
  written_.notify_all();
}

void ShiftLog::note_failure(const std::string& error) {
  const bool first = [&] {
    const std::lock_guard lock(mutex_);
    return std::exchange(state_.error, error).empty();
  }();
  if (first) log_.warn(fmt::format("{}; rows wait in memory meanwhile", error));
}

}  // namespace metarm
