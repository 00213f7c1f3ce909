// A served reward model that is aligned by its server: when that begins, and whether its outcome is served.
//
//   trigger --> response groups from the shift log --> align_process.h --> guard.h --> admitted: swapped in
//                                                                                  --> rejected, failed: as before
//
// Whatever goes wrong on the way is an event with its reason; the version that is served goes on being served.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/serve/align_process.h"
#include "metarm/serve/event_log.h"
#include "metarm/serve/reward_server.h"
#include "metarm/serve/shift_watch.h"
#include "metarm/shift/guard.h"
#include "metarm/shift/rm_versions.h"

namespace metarm {

struct SelfAlignmentOptions {
  AlignProcessOptions process;          // without pairs the model is never aligned
  std::vector<std::string> eval_pairs;  // of the guard
  std::int64_t groups = 256;            // that one alignment takes, a fifth of them for the guard
  std::int64_t every = 0;               // groups from one alignment to the next; 0: the alarm decides
  std::int64_t steps = 0;               // the trainer's steps from one to the next, and at no other moment; 0: off
  double half_life = 3600;              // of a group's weight in the draw: seconds, or with `steps` the trainer's steps
  GuardLimits guard;
  std::uint64_t seed = 0;
};

class SelfAlignment {
 public:
  // `state`: the folder of `versions`, whose current one `server` serves under the name `model`. All of them must outlive this. Errors of
  // the pairs and of the events' file.
  SelfAlignment(const SelfAlignmentOptions& options, const std::string& state, RmVersions& versions, const std::string& model,
                RewardServer& server, ShiftWatch& watch, Log& log);
  SelfAlignment(const SelfAlignment&) = delete;
  SelfAlignment& operator=(const SelfAlignment&) = delete;
  ~SelfAlignment();

  void notice();                       // something has changed that may be a reason to align
  void close();                        // ends what is running; whoever waits goes away empty-handed
  std::optional<std::string> begin();  // nullopt: it has begun, else why not
  // Waits until what step `step` calls for is decided, for as long as an alignment may take and its guard again; otherwise why the query
  // cannot be answered.
  ScoreOutcome wait_for_step(std::int64_t step, const std::function<bool()>& abandoned);
  Json roll_back(std::int64_t number);

  Json status() const;
  Json events(bool for_admin) const { return events_.to_json(for_admin); }
  Json versions() const;

 private:
  enum class State { idle, running, checking };

  bool can_align() const { return !options_.process.pairs.empty(); }
  std::optional<std::string> reason_not_to_begin() const;
  std::string reason_to_begin();
  void work();
  bool align_and_tell(std::int64_t attempt);  // whether it came to a decision
  void align(std::int64_t attempt);
  std::vector<ResponseGroup> draw(std::int64_t attempt, std::int64_t groups);
  GuardMeasures measure(const std::vector<ResponseGroup>& held_out, const RmVersion& parent,
                        const std::shared_ptr<ModelVersion>& candidate);
  void score_by_first(const std::function<bool()>& stop);
  void lose_patience();
  void decide(const std::string& folder, const std::vector<ResponseGroup>& held_out, const RmVersion& parent,
              const std::shared_ptr<ModelVersion>& candidate);
  void serve(const RmVersion& version, const std::shared_ptr<ModelVersion>& opened);
  void note_versions();
  bool called_off() const;  // with mutex_ held: whether what is running is for nobody
  bool cancelled() const;

  const SelfAlignmentOptions options_;
  const std::string state_folder_, model_;
  RewardServer& server_;
  ShiftWatch& watch_;
  std::vector<Pair> eval_pairs_;
  std::vector<std::optional<float>> first_rewards_;  // of eval_pairs_, by version 1; once it is not the one that is aligned
  EventLog events_;

  std::mutex versions_mutex_;  // over versions_, its files, and what is served; taken before mutex_
  RmVersions& versions_;

  mutable std::mutex mutex_;  // over what follows
  std::condition_variable wake_, decided_;
  std::vector<RmVersion> known_;  // as versions_, for those who only look
  RmVersion current_;
  State state_ = State::idle;
  std::string reason_;
  double since_s_ = 0;
  bool requested_ = false, ending_ = false;
  std::uint64_t rollbacks_ = 0, begun_at_rollbacks_ = 0;
  std::uint64_t trainer_runs_ = 0, begun_at_run_ = 0;
  std::int64_t attempts_ = 0, groups_at_attempt_ = 0, patience_ = 1;  // patience: times `groups` from one alarm's alignment to the next
  std::int64_t step_ = 0;                                             // the highest of the trainer's run
  std::optional<std::int64_t> wanted_period_, period_;                // of options_.steps steps: called for, and decided
  std::thread thread_;
};

}  // namespace metarm
