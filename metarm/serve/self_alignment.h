// A served reward model that is aligned by its server: when that begins, in which process it runs, and whether its outcome is served.
//
//   trigger --> response groups from the shift log --> `metarm align` in a process of its own --> guard --> admitted: swapped in
//                                                                                                      --> rejected, failed: as before
//
// Whatever goes wrong on the way is an event with its reason; the version that is served goes on being served.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "metarm/base/journal.h"
#include "metarm/data/rows.h"
#include "metarm/serve/reward_server.h"
#include "metarm/serve/shift_watch.h"
#include "metarm/shift/guard.h"
#include "metarm/shift/rm_versions.h"

namespace metarm {

struct SelfAlignmentOptions {
  std::vector<std::string> pairs, eval_pairs;  // to align with, and for the guard; none: the model is never aligned
  std::string config;                          // a file of `metarm align`'s options; empty: its defaults, and 50 steps
  std::vector<std::string> launcher;           // put before `metarm align`
  std::int64_t groups = 256;                   // that one alignment takes, a fifth of them for the guard
  std::int64_t every = 0;                      // groups from one alignment to the next; 0: the alarm decides
  std::int64_t steps = 0;                      // the trainer's steps from one to the next, and at no other moment; 0: off
  double half_life = 3600;                     // of a group's weight in the draw: seconds, or with `steps` the trainer's steps
  double timeout_s = 3600;                     // of the process
  GuardLimits guard;
  std::int64_t threads = 0;  // 0: what `metarm align` takes
  std::uint64_t seed = 0;
};

// Input errors for options that do not go together, and for files that an alignment would not take.
void check(const SelfAlignmentOptions& options);

class SelfAlignment {
 public:
  // `state`: the folder of `versions`, whose current one `server` serves under the name `model`. All of them must outlive this.
  SelfAlignment(const SelfAlignmentOptions& options, const std::string& state, RmVersions& versions, const std::string& model,
                RewardServer& server, ShiftWatch& watch, Log& log);
  SelfAlignment(const SelfAlignment&) = delete;
  SelfAlignment& operator=(const SelfAlignment&) = delete;
  ~SelfAlignment();  // ends what is running

  void notice();  // something has changed that may be a reason to align; never waits
  std::optional<std::string> begin();
  // Waits until what step `step` calls for is decided; false: not before the deadline.
  bool wait_for_step(std::int64_t step, std::chrono::steady_clock::time_point deadline);
  Json roll_back(std::int64_t number);

  Json status() const;
  Json events() const;  // the last ones, oldest first
  Json versions() const;

 private:
  enum class State { idle, running, checking };
  struct Material;  // what an alignment works with
  struct Event {
    double time_s;
    std::string name, text;
    std::int64_t version;
  };

  void work();
  std::string reason_to_begin();
  void align(std::int64_t attempt);
  Material draw(std::int64_t attempt, const RmVersion& parent);
  void run_process(const Material& material, const RmVersion& parent, std::int64_t attempt);
  void decide(const Material& material, const RmVersion& parent, const std::shared_ptr<ModelVersion>& candidate);
  void add_event(const std::string& name, std::int64_t version, const std::string& text);
  bool cancelled() const;

  const SelfAlignmentOptions options_;
  const std::string state_folder_, model_;
  RewardServer& server_;
  ShiftWatch& watch_;
  Log& log_;
  std::vector<Pair> eval_pairs_;
  std::unique_ptr<Journal> journal_;

  mutable std::mutex versions_mutex_;  // over versions_, its files, and what is served; taken before mutex_
  RmVersions& versions_;

  mutable std::mutex mutex_;  // over what follows
  std::condition_variable wake_, decided_;
  State state_ = State::idle;
  std::string reason_;
  double since_s_ = 0;
  bool requested_ = false, ending_ = false;
  std::uint64_t rollbacks_ = 0, begun_at_rollbacks_ = 0;
  std::int64_t attempts_ = 0, groups_at_attempt_ = 0;
  std::int64_t step_ = 0;                               // the highest that was named
  std::optional<std::int64_t> wanted_period_, period_;  // of options_.steps steps: called for, and decided
  std::deque<Event> events_;
  std::thread thread_;
};

}  // namespace metarm
