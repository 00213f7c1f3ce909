#include "metarm/serve/self_alignment.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <set>
#include <utility>

#include "metarm/base/child_process.h"
#include "metarm/base/config_file.h"
#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/options.h"
#include "metarm/base/stopwatch.h"
#include "metarm/base/wall_clock.h"
#include "metarm/meta/align_options.h"
#include "metarm/serve/held_out.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kEvents = 100;
constexpr std::size_t kFewestGroups = 10;
constexpr const char* kDefaultSteps = "50";
const std::set<std::string> kSetHere = {"model", "pairs", "responses", "output", "seed", "resume", "policy", "reference_policy"};

std::string this_program() { return fs::read_symlink("/proc/self/exe").string(); }

std::string groups_file(const std::string& folder) { return folder + "/groups.jsonl"; }

Json to_json(const GuardDecision& decision) {
  const AccuracyChange& accuracy = decision.accuracy;
  const DiscriminationChange& discrimination = decision.discrimination;
  return {{"accuracy",
           {{"pairs", accuracy.pairs},
            {"gained", accuracy.gained},
            {"lost", accuracy.lost},
            {"change", accuracy.change},
            {"lower", accuracy.lower}}},
          {"discrimination",
           {{"groups", discrimination.groups},
            {"served", discrimination.served},
            {"candidate", discrimination.candidate},
            {"upper", discrimination.upper}}}};
}

double near_tie_of(const RmVersion& version) { return version.measures.value("near_tie", 0.0); }

std::string last_line(const std::string& text) {
  const std::size_t end = text.find_last_not_of('\n');
  if (end == std::string::npos) return "no message";
  const std::size_t begin = text.rfind('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1, end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

std::vector<std::string> option_words(const char* option, const std::vector<std::string>& values) {
  std::vector<std::string> words = {option};
  words.insert(words.end(), values.begin(), values.end());
  return words;
}

bool names_its_length(const std::string& config) {
  if (config.empty()) return false;
  for (const ConfigEntry& entry : load_config_file(config).top.entries)
    if (entry.key == "max_steps" || entry.key == "epochs") return true;
  return false;
}

}  // namespace

struct SelfAlignment::Material {
  std::string folder;
  std::vector<ResponseGroup> groups, held_out;
};

void check(const SelfAlignmentOptions& options) {
  if (options.pairs.empty()) return;
  read_pairs(options.pairs, BadRows::stop);
  if (options.config.empty()) return;
  for (const ConfigEntry& entry : load_config_file(options.config).top.entries)
    if (kSetHere.contains(entry.key)) fail_input("{}: expected an option that the server does not set itself, got this one", entry.where);
  AlignOptions align;
  const std::vector<std::string> arguments = {"--config", options.config, "--model", "-",        "--pairs",
                                              "-",        "--responses",  "-",       "--output", "-"};
  parse_options("serve: --align", align, arguments);
}

SelfAlignment::SelfAlignment(const SelfAlignmentOptions& options, const std::string& state, RmVersions& versions, const std::string& model,
                             RewardServer& server, ShiftWatch& watch, Log& log)
    : options_(options), state_folder_(state), model_(model), server_(server), watch_(watch), log_(log), versions_(versions) {
  fs::remove_all(state_folder_ + "/alignment");  // a killed server's
  if (!options_.eval_pairs.empty()) eval_pairs_ = read_pairs(options_.eval_pairs, BadRows::stop).rows;
  journal_ = std::make_unique<Journal>(state_folder_ + "/events.jsonl", [&](const JsonRow& row) {
    const Json& event = row.value;
    events_.push_back(
        {event.value("time", 0.0), event.value("event", ""), event.value("text", ""), event.value("version", std::int64_t{0})});
    if (events_.size() > kEvents) events_.pop_front();
  });
  const RmVersion current = *versions_.current();
  attempts_ = versions_.all().back().number;
  watch_.begin_version(near_tie_of(current));
  if (!options_.pairs.empty()) thread_ = std::thread([this] { work(); });
}

SelfAlignment::~SelfAlignment() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  wake_.notify_all();
  decided_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void SelfAlignment::notice() {
  { const std::lock_guard lock(mutex_); }  // so that it comes before the wait, or within it
  wake_.notify_one();
}

std::optional<std::string> SelfAlignment::begin() {
  const std::lock_guard lock(mutex_);
  if (options_.pairs.empty()) return "expected a server with --pairs to align with, got one without";
  if (options_.steps > 0) return "expected a server without --align-steps: its trainer says when to align";
  if (state_ != State::idle || requested_) return "an alignment is running";
  requested_ = true;
  wake_.notify_one();
  return {};
}

bool SelfAlignment::wait_for_step(std::int64_t step, std::chrono::steady_clock::time_point deadline) {
  if (options_.steps == 0 || options_.pairs.empty()) return true;
  std::unique_lock lock(mutex_);
  step_ = std::max(step_, step);
  const std::int64_t period = step / options_.steps;
  if (!period_) period_ = period;  // where a trainer begins, nothing is known yet
  if (period <= *period_) return true;
  wanted_period_ = std::max(wanted_period_.value_or(period), period);
  wake_.notify_one();
  return decided_.wait_until(lock, deadline, [&] { return *period_ >= period || ending_; }) && !ending_;
}

// With mutex_ held; empty: there is none.
std::string SelfAlignment::reason_to_begin() {
  if (options_.steps > 0) return wanted_period_ && *wanted_period_ > *period_ ? "step" : "";
  if (std::exchange(requested_, false)) return "request";
  const std::int64_t groups = watch_.groups() - groups_at_attempt_;
  if (options_.every > 0 && groups >= options_.every) return "groups";
  return options_.every == 0 && groups >= options_.groups && watch_.test().alarm ? "alarm" : "";
}

void SelfAlignment::work() {
  bool alarmed = false;
  for (;;) {
    std::int64_t attempt = 0;
    std::string reason;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [&] { return ending_ || watch_.test().alarm != alarmed || !(reason = reason_to_begin()).empty(); });
      if (ending_) return;
    }
    if (watch_.test().alarm != alarmed) {
      alarmed = !alarmed;
      if (alarmed) add_event("alarm", 0, "the rewards of what is scored have shifted since the last alignment");
    }
    if (reason.empty()) continue;
    std::optional<std::int64_t> period;
    {
      const std::lock_guard lock(mutex_);
      attempt = ++attempts_;
      groups_at_attempt_ = watch_.groups();
      state_ = State::running;
      reason_ = reason;
      since_s_ = seconds_since_1970();
      begun_at_rollbacks_ = rollbacks_;
      period = wanted_period_;
    }
    try {
      align(attempt);
    } catch (const std::exception& error) {
      if (cancelled())
        add_event("failed", 0, "the alignment was ended by a rollback, or by the end of the server");
      else
        add_event("failed", 0, error.what());
    }
    std::error_code ignored;
    fs::remove_all(state_folder_ + "/alignment", ignored);
    {
      const std::lock_guard lock(mutex_);
      state_ = State::idle;
      reason_.clear();
      since_s_ = seconds_since_1970();
      if (period) period_ = period;
    }
    decided_.notify_all();
  }
}

bool SelfAlignment::cancelled() const {
  const std::lock_guard lock(mutex_);
  return ending_ || rollbacks_ != begun_at_rollbacks_;
}

void SelfAlignment::align(std::int64_t attempt) {
  const RmVersion parent = [&] {
    const std::lock_guard lock(versions_mutex_);
    return *versions_.current();
  }();
  const Material material = draw(attempt, parent);
  run_process(material, parent, attempt);
  {
    const std::lock_guard lock(mutex_);
    state_ = State::checking;
  }
  const std::shared_ptr<ModelVersion> candidate = server_.open(material.folder + "/rm");
  decide(material, parent, candidate);
}

SelfAlignment::Material SelfAlignment::draw(std::int64_t attempt, const RmVersion& parent) {
  GroupDraw wanted;
  wanted.groups = options_.groups;
  wanted.half_life_s = options_.half_life;
  wanted.seed = options_.seed + static_cast<std::uint64_t>(attempt);
  wanted.now_s = [&] {
    const std::lock_guard lock(mutex_);
    return options_.steps > 0 ? static_cast<double>(step_) : seconds_since_1970();
  }();
  const std::vector<ResponseGroup> drawn = watch_.draw(wanted);
  if (drawn.size() < kFewestGroups)
    fail_input("shift log: expected at least {} prompts with two different responses to align with, got {}", kFewestGroups, drawn.size());
  Material material{state_folder_ + "/alignment", {}, {}};
  for (std::size_t i = 0; i < drawn.size(); ++i) (i % 5 == 4 ? material.held_out : material.groups).push_back(drawn[i]);
  fs::create_directories(material.folder);
  std::string lines;
  for (ResponseGroup group : material.groups) {
    group.rewards.clear();
    lines += metarm::to_json(group).dump() + "\n";
  }
  write_file(groups_file(material.folder), lines);
  add_event("started", parent.number,
            fmt::format("aligning version {} with {} response groups, {} others held out", parent.number, material.groups.size(),
                        material.held_out.size()));
  return material;
}

void SelfAlignment::run_process(const Material& material, const RmVersion& parent, std::int64_t attempt) {
  std::vector<std::string> arguments = options_.launcher;
  const auto add = [&](const std::vector<std::string>& words) { arguments.insert(arguments.end(), words.begin(), words.end()); };
  add({this_program(), "align", "--quiet"});
  if (!options_.config.empty()) add({"--config", options_.config});
  if (!names_its_length(options_.config)) add({"--max-steps", kDefaultSteps});
  if (options_.threads > 0) add({"--threads", std::to_string(options_.threads)});
  add({"--model", parent.checkpoint, "--responses", groups_file(material.folder), "--output", material.folder + "/rm", "--seed",
       std::to_string(options_.seed + static_cast<std::uint64_t>(attempt))});
  add(option_words("--pairs", options_.pairs));
  const std::string errors = material.folder + "/errors";
  const FinishedProcess finished =
      metarm::run_process(arguments, {.seconds = options_.timeout_s, .errors_to = errors, .cancelled = [this] { return cancelled(); }});
  if (finished.killed && !cancelled())
    fail_io("metarm align: expected it to end within {} s, got no end; it was killed", options_.timeout_s);
  if (finished.exit_code == 137)
    fail_io("metarm align: expected it to end by itself, but it was killed; the memory may have been too small");
  if (finished.exit_code != 0) fail_io("metarm align ended with {}: {}", finished.exit_code, last_line(read_file(errors)));
}

void SelfAlignment::decide(const Material& material, const RmVersion& parent, const std::shared_ptr<ModelVersion>& candidate) {
  const GuardMeasures measures =
      measure_held_out(server_, server_.version(model_), candidate, eval_pairs_, material.held_out, [this] { return cancelled(); });
  const GuardDecision decision = decide_admission(measures, options_.guard);
  RmVersion version;
  version.parent = parent.number;
  version.admitted = decision.admitted;
  version.reasons = decision.reasons;
  version.measures = to_json(decision);
  version.map = decision.map;
  version.measures["near_tie"] = 0.1 * decision.served_scale.deviation;
  version.measures["id"] = candidate->id();

  const std::lock_guard lock(versions_mutex_);
  if (cancelled()) fail_io("cancelled");
  const RmVersion added = versions_.add(material.folder + "/rm", std::move(version));
  std::string reasons;
  for (const std::string& reason : added.reasons) reasons += (reasons.empty() ? "" : "; ") + reason;
  if (added.admitted) {
    versions_.make_current(added.number);
    candidate->serve_by(added.map);
    server_.swap_version(model_, candidate);
    watch_.begin_version(near_tie_of(added));
  }
  add_event(added.admitted ? "admitted" : "rejected", added.number, reasons);
}

Json SelfAlignment::roll_back(std::int64_t number) {
  {
    const std::lock_guard lock(mutex_);
    ++rollbacks_;  // what is being aligned now comes from a version that is no longer wanted
  }
  const std::lock_guard lock(versions_mutex_);
  const RmVersion chosen = versions_.version(number);
  if (!chosen.admitted) fail_input("version: expected an admitted one, got {}, which was rejected", number);
  const std::shared_ptr<ModelVersion> version = server_.open(chosen.checkpoint);
  version->serve_by(chosen.map);
  versions_.make_current(number);
  server_.swap_version(model_, version);
  watch_.begin_version(near_tie_of(chosen));
  add_event("rollback", number, fmt::format("version {} is served again", number));
  return {{"version", number}, {"id", version->id()}};
}

void SelfAlignment::add_event(const std::string& name, std::int64_t version, const std::string& text) {
  const Event event{seconds_since_1970(), name, text, version};
  const Json line = {{"time", event.time_s}, {"event", name}, {"version", version}, {"text", text}};
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
    if (events_.size() > kEvents) events_.pop_front();
  }
  try {
    journal_->append(line);
  } catch (const Error& error) {
    log_.warn(error.what());
  }
  log_.result(line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

Json SelfAlignment::status() const {
  static const char* const kNames[] = {"idle", "running", "checking"};
  const std::int64_t version = [&] {
    const std::lock_guard lock(versions_mutex_);
    return versions_.current()->number;
  }();
  const std::lock_guard lock(mutex_);
  return {{"enabled", !options_.pairs.empty()},
          {"state", kNames[static_cast<int>(state_)]},
          {"reason", reason_},
          {"since", since_s_},
          {"version", version},
          {"groups", watch_.groups() - groups_at_attempt_},
          {"groups_wanted", options_.every > 0 ? options_.every : options_.groups}};
}

Json SelfAlignment::events() const {
  const std::lock_guard lock(mutex_);
  Json events = Json::array();
  for (const Event& event : events_)
    events.push_back({{"time", event.time_s}, {"event", event.name}, {"version", event.version}, {"text", event.text}});
  return events;
}

Json SelfAlignment::versions() const {
  const std::lock_guard lock(versions_mutex_);
  Json list = Json::array();
  for (const RmVersion& version : versions_.all()) {
    Json measures = version.measures;
    const std::string id = measures.value("id", "");
    for (const char* inner : {"near_tie", "id"}) measures.erase(inner);
    list.push_back({{"number", version.number},
                    {"id", id},
                    {"parent", version.parent},
                    {"created", version.created},
                    {"admitted", version.admitted},
                    {"reasons", version.reasons},
                    {"scale", version.map.scale},
                    {"offset", version.map.offset},
                    {"measures", std::move(measures)}});
  }
  return {{"current", versions_.current()->number}, {"versions", std::move(list)}};
}

}  // namespace metarm
