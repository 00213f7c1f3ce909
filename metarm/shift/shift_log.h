// Every scored response, kept for the next alignment. Scoring threads add rows and never wait for the disk: one thread writes them.
//
//   offered --> sampled out, when they come too fast (prompt_sampler.h)
//           --> dropped, when the queue is full: the disk is too slow, or full
//           --> accepted: in the queue, lost only where the process ends before
//           --> acknowledged: committed and synced to disk; survives kill -9 and a power cut, until a limit removes it as one of the oldest
//
// A failing write (disk full) becomes `state().error`; rows wait in the queue and are tried again every second. A damaged file is moved
// aside to `PATH.damaged-N` with its write-ahead log, and a new one begun: what it held, acknowledged rows too, is in that file only.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/data/rows.h"
#include "metarm/shift/group_draw.h"
#include "metarm/shift/prompt_sampler.h"
#include "metarm/shift/shift_store.h"

namespace metarm {

struct ScoredResponse {
  Content prompt, response;
  double reward = 0;    // finite
  std::string version;  // of the reward model
  double time_s = 0;    // since 1970
  std::optional<std::int64_t> step;
  TextForm form = TextForm::response;
};

struct ShiftLogOptions {
  std::string path;
  StoreLimits limits = {};
  bool redact = false;      // hashes and rewards without texts
  double rows_per_s = 200;  // kept on average, at most
  double burst_s = 60;      // how long a pause may be saved up for a burst
  std::int64_t queue_rows = 16384;
  std::int64_t queue_bytes = std::int64_t{64} << 20;  // of texts
  std::uint64_t seed = 0;
};

struct ShiftLogState {
  std::int64_t offered = 0, sampled_out = 0, dropped = 0, accepted = 0, acknowledged = 0;  // since it was opened: rows
  std::int64_t removed = 0;                                                                // by the limits, likewise
  std::int64_t rows = 0, bytes = 0;                                                        // in the file
  std::string error;                                                                       // of the last write; empty: it went well
  std::vector<std::string> moved_aside;                                                    // what was said of damaged files
};

class ShiftLog {
 public:
  // Opens the file, or makes it; checks all of it. One process at a time: input error while another has it open. io error where it cannot
  // be written. Warnings go to `log`, which must outlive this and take messages from another thread.
  ShiftLog(const ShiftLogOptions& options, Log& log);
  ShiftLog(const ShiftLog&) = delete;
  ShiftLog& operator=(const ShiftLog&) = delete;
  ~ShiftLog();  // writes what is in the queue, once

  // Takes a row into the queue; thread-safe, never waits for the disk. A ticket counts from 1; 0: sampled out or dropped. Internal error
  // for a reward that is not finite.
  std::uint64_t add(const ScoredResponse& row);
  // Waits until the row of this ticket, and with it every one before, is acknowledged; false: not within this time.
  bool wait(std::uint64_t ticket, std::chrono::milliseconds at_most);

  // From acknowledged rows. Input error for a redacted log; io error where the file cannot be read.
  std::vector<ResponseGroup> draw(const GroupDraw& draw) const;
  // Calls `row` with hashes of prompt and response and the reward of each row of this version, oldest first, that came after the last of
  // another version. From acknowledged rows. DatabaseError.
  void replay(const std::string& version,
              const std::function<void(std::uint64_t prompt, std::uint64_t response, double reward)>& row) const;
  ShiftLogState state() const;

 private:
  struct Queued {
    StoredResponse row;
    std::int64_t bytes;
  };

  void lock_file();
  void open_store(bool check);
  void move_aside(const std::string& reason);
  void write_all();
  std::vector<const StoredResponse*> take_batch();  // waits for rows; none: a minute has passed, or it is closed
  bool write(const std::vector<const StoredResponse*>& batch);
  void acknowledge(std::size_t rows);
  void note_failure(const std::string& error);

  const ShiftLogOptions options_;
  Log& log_;
  int lock_ = -1;
  std::unique_ptr<ShiftStore> store_;  // the writer's; null: to be opened again

  mutable std::mutex mutex_;  // over what follows
  std::condition_variable work_, written_;
  std::deque<Queued> queue_;  // what is being written stays in it until it is acknowledged
  std::int64_t queue_bytes_ = 0;
  PromptSampler sampler_;
  ShiftLogState state_;
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace metarm
