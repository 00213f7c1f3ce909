#include "metarm/serve/self_alignment.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/base/stopwatch.h"
#include "metarm/base/wall_clock.h"
#include "metarm/serve/held_out.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr std::int64_t kFewestGroups = 10;
constexpr std::int64_t kMostPatience = 64;
constexpr std::int64_t kLateSteps = 2;  // a step that is lower by so many, and by one alignment's steps, is of another run
constexpr double kSlack = 60;           // seconds, beside the two that have a limit of their own: opening models, waiting for the log
constexpr const char* kWorkFolder = "alignment-";
constexpr const char *kRequest = "request", *kAlarm = "alarm";

Json to_json(const AccuracyChange& accuracy) {
  return {{"pairs", accuracy.pairs},
          {"gained", accuracy.gained},
          {"lost", accuracy.lost},
          {"change", accuracy.change},
          {"lower", accuracy.lower}};
}

Json to_json(const GuardDecision& decision) {
  const DiscriminationChange& discrimination = decision.discrimination;
  Json measures = {{"accuracy", to_json(decision.accuracy)},
                   {"discrimination",
                    {{"groups", discrimination.groups},
                     {"served", discrimination.served},
                     {"candidate", discrimination.candidate},
                     {"upper", discrimination.upper}}}};
  if (decision.accuracy_since_first) measures["accuracy_since_first"] = to_json(*decision.accuracy_since_first);
  return measures;
}

Json to_json(const RmVersion& version) {
  Json measures = version.measures;
  const std::string id = measures.value("id", "");
  for (const char* inner : {"near_tie", "id"}) measures.erase(inner);
  return {{"number", version.number},       {"id", id},
          {"parent", version.parent},       {"created", version.created},
          {"admitted", version.admitted},   {"reasons", version.reasons},
          {"scale", version.map.scale},     {"offset", version.map.offset},
          {"measures", std::move(measures)}};
}

// The same groups each time, so that what was trained on is never held out later.
bool is_held_out(const ResponseGroup& group) {
  return derive_seed(0, to_json(group.prompt).dump(-1, ' ', false, Json::error_handler_t::replace)) % 5 == 4;
}

double near_tie_of(const RmVersion& version) { return version.measures.value("near_tie", 0.0); }

void remove_work_folders(const std::string& state) {
  std::vector<fs::path> left;
  for (const fs::directory_entry& entry : fs::directory_iterator(state))
    if (entry.path().filename().string().starts_with(kWorkFolder)) left.push_back(entry.path());
  std::error_code ignored;
  for (const fs::path& path : left) fs::remove_all(path, ignored);
}

}  // namespace

SelfAlignment::SelfAlignment(const SelfAlignmentOptions& options, const std::string& state, RmVersions& versions, const std::string& model,
                             RewardServer& server, ShiftWatch& watch, Log& log)
    : options_(options),
      state_folder_(state),
      model_(model),
      server_(server),
      watch_(watch),
      events_(state + "/events.jsonl", log),
      versions_(versions) {
  remove_work_folders(state_folder_);
  if (!options_.eval_pairs.empty()) eval_pairs_ = read_pairs(options_.eval_pairs, BadRows::stop).rows;
  note_versions();
  attempts_ = known_.back().number;
  watch_.begin_version(current_.measures.value("id", ""), near_tie_of(current_));
  watch_.replay();
  groups_at_attempt_ = watch_.groups();
  thread_ = std::thread([this] { work(); });
}

SelfAlignment::~SelfAlignment() {
  close();
  thread_.join();
}

void SelfAlignment::close() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  decided_.notify_all();
}

void SelfAlignment::notice() {
  { const std::lock_guard lock(mutex_); }  // so that it comes before the wait, or within it
  wake_.notify_one();
}

// With mutex_ held.
std::optional<std::string> SelfAlignment::reason_not_to_begin() const {
  if (!can_align()) return "expected a server with --pairs to align with, got one without";
  if (options_.steps > 0) return "expected a server without --align-steps: its trainer says when to align";
  if (state_ != State::idle || requested_) return "an alignment is running";
  return {};
}

std::optional<std::string> SelfAlignment::begin() {
  {
    const std::lock_guard lock(mutex_);
    if (const auto reason = reason_not_to_begin()) return reason;
  }
  try {
    draw(0, kFewestGroups);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::input) return error.what();
    throw;
  }
  const std::lock_guard lock(mutex_);
  if (const auto reason = reason_not_to_begin()) return reason;
  requested_ = true;
  wake_.notify_one();
  return {};
}

ScoreOutcome SelfAlignment::wait_for_step(std::int64_t step, const std::function<bool()>& abandoned) {
  if (options_.steps == 0) return ScoreOutcome::scored;
  const Stopwatch waiting;
  std::unique_lock lock(mutex_);
  const std::int64_t period = step / options_.steps;
  // Where a trainer begins, or begins again, nothing is known yet. Requests of steps not long ago may come late.
  if (!period_ || step <= step_ - std::max(options_.steps, kLateSteps)) {
    ++trainer_runs_;
    step_ = step;
    period_ = period;
    wanted_period_.reset();
  }
  const std::uint64_t run = trainer_runs_;
  step_ = std::max(step_, step);
  // What is aligned for another run may be served yet, before it notices; no request of this one comes between.
  const auto is_ending = [&] { return state_ != State::idle && begun_at_run_ != run; };
  if (period > *period_) {
    wanted_period_ = std::max(wanted_period_.value_or(period), period);
    wake_.notify_one();
  }
  while (*period_ < period || is_ending()) {
    if (ending_) return ScoreOutcome::closing;
    if (waiting.seconds() > 2 * options_.process.timeout_s + kSlack) return ScoreOutcome::late;
    if (abandoned && abandoned()) return ScoreOutcome::abandoned;
    if (run != trainer_runs_) return ScoreOutcome::superseded;
    decided_.wait_for(lock, 50ms);
  }
  return ScoreOutcome::scored;
}

// With mutex_ held; empty: there is none. What is asked for is taken.
std::string SelfAlignment::reason_to_begin() {
  if (!can_align()) return "";
  if (options_.steps > 0) return wanted_period_ && *wanted_period_ > *period_ ? "step" : "";
  if (std::exchange(requested_, false)) return kRequest;
  const std::int64_t groups = watch_.groups() - groups_at_attempt_;
  if (options_.every > 0) return groups >= options_.every ? "groups" : "";
  return groups >= options_.groups * patience_ && watch_.alarm() ? kAlarm : "";
}

void SelfAlignment::work() {
  bool alarmed = false;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return ending_ || watch_.alarm() != alarmed || !(reason_ = reason_to_begin()).empty(); });
    if (ending_) return;
    if (watch_.alarm() != alarmed) {
      alarmed = !alarmed;
      if (alarmed) events_.add("alarm", current_.number, "the rewards of what is scored have shifted since this version was first served");
      continue;
    }
    const std::int64_t attempt = ++attempts_;
    const std::int64_t groups_before = std::exchange(groups_at_attempt_, watch_.groups());
    state_ = State::running;
    since_s_ = seconds_since_1970();
    begun_at_rollbacks_ = rollbacks_;
    begun_at_run_ = trainer_runs_;
    const std::optional<std::int64_t> period = wanted_period_;
    lock.unlock();
    const bool decided = align_and_tell(attempt);
    lock.lock();
    if (!decided && reason_ == kRequest) groups_at_attempt_ = groups_before;  // it does not put off what the alarm calls for
    state_ = State::idle;
    reason_.clear();
    since_s_ = seconds_since_1970();
    if (period && begun_at_run_ == trainer_runs_) period_ = period;
    decided_.notify_all();
  }
}

bool SelfAlignment::called_off() const { return ending_ || rollbacks_ != begun_at_rollbacks_ || trainer_runs_ != begun_at_run_; }

bool SelfAlignment::cancelled() const {
  const std::lock_guard lock(mutex_);
  return called_off();
}

// With mutex_ held.
void SelfAlignment::lose_patience() {
  if (reason_ == kAlarm) patience_ = std::min(2 * patience_, kMostPatience);
}

bool SelfAlignment::align_and_tell(std::int64_t attempt) {
  bool decided = false;
  try {
    align(attempt);
    decided = true;
  } catch (const std::exception& error) {
    const std::lock_guard lock(mutex_);
    const bool for_nobody = called_off();
    if (!for_nobody) lose_patience();
    const auto* process = dynamic_cast<const AlignProcessError*>(&error);
    events_.add_failure(
        current_.number,
        for_nobody ? "the alignment was ended by a rollback, by a trainer that began again, or by the end of the server" : error.what(),
        process != nullptr && !for_nobody ? std::optional(process->exit_code()) : std::nullopt);
  }
  std::error_code ignored;
  fs::remove_all(fmt::format("{}/{}{}", state_folder_, kWorkFolder, attempt), ignored);
  return decided;
}

std::vector<ResponseGroup> SelfAlignment::draw(std::int64_t attempt, std::int64_t groups) {
  GroupDraw wanted;
  wanted.groups = groups;
  wanted.half_life_s = options_.half_life;
  wanted.seed = options_.seed + static_cast<std::uint64_t>(attempt);
  wanted.now_s = seconds_since_1970();
  if (options_.steps > 0) {
    const std::lock_guard lock(mutex_);
    wanted.by_step = true;
    wanted.now_s = static_cast<double>(step_);
  }
  std::vector<ResponseGroup> drawn = watch_.draw(wanted);
  if (static_cast<std::int64_t>(drawn.size()) < kFewestGroups)
    fail_input("shift log: expected at least {} prompts with two different responses to align with, got {}", kFewestGroups, drawn.size());
  return drawn;
}

void SelfAlignment::align(std::int64_t attempt) {
  const RmVersion parent = [&] {
    const std::lock_guard lock(mutex_);
    return current_;
  }();
  const std::vector<ResponseGroup> drawn = draw(attempt, options_.groups);
  AlignProcessTask task;
  task.model = parent.checkpoint;
  task.folder = fmt::format("{}/{}{}", state_folder_, kWorkFolder, attempt);
  task.seed = options_.seed + static_cast<std::uint64_t>(attempt);
  std::vector<ResponseGroup> held_out;
  for (const ResponseGroup& group : drawn) (is_held_out(group) ? held_out : task.groups).push_back(group);
  events_.add(
      "started", parent.number,
      fmt::format("aligning version {} with {} response groups, {} others held out", parent.number, task.groups.size(), held_out.size()));
  run_align_process(task, options_.process, [this] { return cancelled(); });
  {
    const std::lock_guard lock(mutex_);
    state_ = State::checking;
  }
  decide(task.folder, held_out, parent, server_.open(task.folder + "/rm"));
}

// Once: it does not change.
void SelfAlignment::score_by_first(const std::function<bool()>& stop) {
  if (!first_rewards_.empty()) return;
  const std::string checkpoint = [&] {
    const std::lock_guard lock(versions_mutex_);
    return versions_.version(1).checkpoint;
  }();
  first_rewards_ = server_.score_by(server_.open(checkpoint), items_of(eval_pairs_, {}), stop);
}

GuardMeasures SelfAlignment::measure(const std::vector<ResponseGroup>& held_out, const RmVersion& parent,
                                     const std::shared_ptr<ModelVersion>& candidate) {
  const Stopwatch stopwatch;
  const auto late = [&] { return stopwatch.seconds() > options_.process.timeout_s; };
  const auto stop = [&] { return cancelled() || late(); };
  try {
    if (parent.number != 1) score_by_first(stop);
    const std::vector<std::optional<float>> none;
    GuardMeasures measures = measure_held_out(server_, server_.version(model_), candidate, parent.number == 1 ? none : first_rewards_,
                                              eval_pairs_, held_out, stop);
    measures.served_map = parent.map;
    return measures;
  } catch (const Error&) {
    if (!late() || cancelled()) throw;
    fail_io("guard: expected it to score the held-out rows within {} s, got no end; --align-timeout gives it more time",
            options_.process.timeout_s);
  }
}

void SelfAlignment::decide(const std::string& folder, const std::vector<ResponseGroup>& held_out, const RmVersion& parent,
                           const std::shared_ptr<ModelVersion>& candidate) {
  const GuardDecision decision = decide_admission(measure(held_out, parent, candidate), options_.guard);
  RmVersion version;
  version.parent = parent.number;
  version.admitted = decision.admitted;
  version.reasons = decision.reasons;
  version.measures = to_json(decision);
  version.measures["near_tie"] = 0.1 * decision.served_scale.deviation;
  version.measures["id"] = candidate->id();
  version.map = decision.map;

  const std::lock_guard lock(versions_mutex_);
  if (cancelled()) fail_io("it was called off");
  const RmVersion added = versions_.add(folder + "/rm", std::move(version));
  note_versions();
  if (added.admitted) serve(added, candidate);
  const std::lock_guard state(mutex_);
  if (added.admitted)
    patience_ = 1;
  else
    lose_patience();
  events_.add(added.admitted ? "admitted" : "rejected", added.number, fmt::format("{}", fmt::join(added.reasons, "; ")));
}

// With versions_mutex_ held.
void SelfAlignment::serve(const RmVersion& version, const std::shared_ptr<ModelVersion>& opened) {
  versions_.make_current(version.number);
  opened->serve_by(version.map);
  server_.swap_version(model_, opened);
  watch_.begin_version(opened->id(), near_tie_of(version));
  note_versions();
}

void SelfAlignment::note_versions() {
  const std::lock_guard lock(mutex_);
  known_ = versions_.all();
  current_ = *versions_.current();
}

Json SelfAlignment::roll_back(std::int64_t number) {
  const auto choose = [&] {
    const RmVersion chosen = versions_.version(number);
    if (!chosen.admitted) fail_input("version: expected an admitted one, got {}, which was rejected", number);
    return chosen;
  };
  const RmVersion chosen = [&] {
    const std::lock_guard lock(versions_mutex_);
    return choose();
  }();
  const std::shared_ptr<ModelVersion> opened = server_.open(chosen.checkpoint);
  const std::lock_guard lock(versions_mutex_);
  {
    const std::lock_guard state(mutex_);
    ++rollbacks_;  // what is being aligned now comes from a version that is no longer wanted
    patience_ = 1;
  }
  serve(chosen, opened);
  events_.add("rollback", number, fmt::format("version {} is served again", number));
  return {{"version", number}, {"id", opened->id()}};
}

Json SelfAlignment::status() const {
  static const char* const kNames[] = {"idle", "running", "checking"};
  const std::lock_guard lock(mutex_);
  return {{"enabled", can_align()},
          {"state", kNames[static_cast<int>(state_)]},
          {"reason", state_ == State::idle ? "" : reason_},
          {"since", since_s_},
          {"version", current_.number},
          {"groups", watch_.groups() - groups_at_attempt_},
          {"groups_wanted", options_.every > 0 ? options_.every : options_.groups * patience_}};
}

Json SelfAlignment::versions() const {
  const std::lock_guard lock(mutex_);
  Json list = Json::array();
  for (const RmVersion& version : known_) list.push_back(to_json(version));
  return {{"current", current_.number}, {"versions", std::move(list)}};
}

}  // namespace metarm
