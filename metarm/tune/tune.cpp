#include "metarm/tune/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <filesystem>
#include <mutex>
#include <thread>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/stopwatch.h"
#include "metarm/tune/trial_journal.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr const char* kConfig = "tuning.toml";
constexpr const char* kJournal = "journal.jsonl";
constexpr const char* kHalving = "halving.json";

std::string path_in(const std::string& folder, const char* name) { return (fs::path(folder) / name).string(); }

bool is_leftover(const fs::directory_entry& entry) { return is_temporary(entry.path().string()); }

// A folder that is neither new nor a tuning's is not ours to write into.
void check_folder(const std::string& folder) {
  if (!fs::exists(folder) || fs::exists(path_in(folder, kConfig)) || fs::exists(path_in(folder, kJournal))) return;
  if (!fs::is_directory(folder)) fail_input("--output {}: expected a folder, got a file", folder);
  if (!std::ranges::all_of(fs::directory_iterator(folder), is_leftover))
    fail_input("--output {}: expected a folder that does not exist yet, or a tuning's; choose another", folder);
}

void remove_leftovers(const std::string& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (is_leftover(entry)) fs::remove_all(entry.path());
}

// What decides which trials there are at which steps, and who goes on; `rungs` may change, since it only says when to end.
Json halving_json(const TuneOptions& options) {
  return {{"min_steps", options.min_steps}, {"eta", options.eta}, {"goal", enum_name(options.goal)}};
}

void check_same_halving(const TuneOptions& options) {
  const std::string path = path_in(options.output, kHalving);
  if (!fs::exists(path)) return;
  const Json then = load_json(path), now = halving_json(options);
  for (const auto& [name, value] : now.items())
    if (const Json& before = require_field(then, name.c_str(), path); before != value)
      fail_input("{}: {}: expected {}, with which the tuning began, got {}; choose another --output", path, name, before.dump(),
                 value.dump());
}

// Runs body(index, slot) for each index below `count`, on as many threads. The first error, by index, once all have ended; `stop` tells
// bodies that there was one.
template <class Body>
void run_side_by_side(std::size_t count, std::int64_t threads, std::atomic<bool>& stop, const Body& body) {
  std::atomic<std::size_t> next = 0;
  std::vector<std::exception_ptr> errors(count);
  std::vector<std::jthread> workers;
  for (std::int64_t slot = 0; slot < std::min(threads, static_cast<std::int64_t>(count)); ++slot)
    workers.emplace_back([&, slot] {
      for (std::size_t i = next++; i < count && !stop; i = next++) {
        try {
          body(i, slot);
        } catch (...) {
          errors[i] = std::current_exception();
          stop = true;
        }
      }
    });
  workers.clear();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

class Tuning {
 public:
  Tuning(const TuneOptions& options, const TrialCommand& command, std::vector<Rung> rungs, Log& log)
      : options_(options), command_(command), log_(log), journal_(path_in(options.output, kJournal), options.retry_failed) {
    result_ = {options.output, options.figure, options.goal, std::move(rungs), command.ranges(), {}, {}};
    for (TrialValues& values : draw_trials(command.ranges(), options.trials, static_cast<std::uint64_t>(options.seed)))
      result_.trials.push_back({{static_cast<std::int64_t>(result_.trials.size()) + 1, std::move(values)}, {}, 0});
  }

  TuningResult run(const std::string& config) {
    check_same_halving(options_);
    remove_leftovers(options_.output);
    write_file(path_in(options_.output, kConfig), config);
    write_file(path_in(options_.output, kHalving), halving_json(options_).dump() + "\n");
    std::vector<std::int64_t> going_on;
    for (const TrialRecord& record : result_.trials) going_on.push_back(record.trial.number);
    for (std::size_t rung = 0; rung < result_.rungs.size() && !going_on.empty(); ++rung) {
      run_rung(rung, going_on);
      if (rung == 0) check_any_succeeded();
      const std::int64_t keep = rung + 1 < result_.rungs.size() ? result_.rungs[rung + 1].trials : 0;
      const std::vector<std::int64_t> best = choose_best(figures_of(rung, going_on), options_.goal, keep);
      if (keep > 0) drop_others(going_on, best);
      going_on = best;
      write();
    }
    return std::move(result_);
  }

 private:
  TrialRecord& record_of(std::int64_t number) { return result_.trials[static_cast<std::size_t>(number - 1)]; }

  void run_rung(std::size_t rung, const std::vector<std::int64_t>& numbers) {
    const std::int64_t steps = result_.rungs[rung].steps;
    std::vector<TrialOutcome> outcomes(numbers.size());
    std::atomic<bool> stop = false;
    std::int64_t done = 0;
    run_side_by_side(numbers.size(), options_.parallel, stop, [&](std::size_t i, std::int64_t slot) {
      const Trial& trial = record_of(numbers[i]).trial;
      if (!run_trial(trial, steps, slot, stop, outcomes[i])) return;
      const std::lock_guard lock(mutex_);
      log_.progress(fmt::format("rung {} of {}", rung + 1, result_.rungs.size()), ++done, static_cast<std::int64_t>(numbers.size()),
                    fmt::format("trial {}: {}", trial.number, words(outcomes[i])));
    });
    for (std::size_t i = 0; i < numbers.size(); ++i) record_of(numbers[i]).rungs.push_back(std::move(outcomes[i]));
  }

  std::string words(const TrialOutcome& outcome) const {
    return outcome.figure ? fmt::format("{} {:.5g}", options_.figure, *outcome.figure) : "failed: " + outcome.failure;
  }

  // False where it was stopped.
  bool run_trial(const Trial& trial, std::int64_t steps, std::int64_t slot, const std::atomic<bool>& stop, TrialOutcome& outcome) {
    const std::string told = command_.told(trial, steps);
    {
      const std::lock_guard lock(mutex_);
      if (const TrialOutcome* before = journal_.find(trial.number, steps, told, options_.figure)) {
        outcome = *before;
        return true;
      }
    }
    const Stopwatch stopwatch;
    std::optional<TrialOutcome> ended = command_.run(trial, steps, slot, [&] { return stop.load(); });
    if (!ended) return false;
    const std::lock_guard lock(mutex_);
    journal_.add(trial.number, steps, told, options_.figure, *ended, stopwatch.seconds());
    outcome = *std::move(ended);
    return true;
  }

  void check_any_succeeded() const {
    const auto failed = [](const TrialRecord& record) { return !record.rungs.front().figure; };
    if (std::ranges::all_of(result_.trials, failed))
      fail_input("tune: expected a trial that does not fail, got {} that do; the first: {}; mend it, then --retry-failed goes on",
                 result_.trials.size(), result_.trials.front().rungs.front().failure);
  }

  std::vector<RungResult> figures_of(std::size_t rung, const std::vector<std::int64_t>& numbers) {
    std::vector<RungResult> results;
    for (const std::int64_t number : numbers) results.push_back({number, record_of(number).rungs[rung].figure});
    return results;
  }

  void drop_others(const std::vector<std::int64_t>& of, const std::vector<std::int64_t>& kept) {
    for (const std::int64_t number : of)
      if (!std::ranges::binary_search(kept, number)) command_.remove_weights(record_of(number).trial);
  }

  void write() {
    rank_trials(result_);
    measure_sensitivity(result_, static_cast<std::uint64_t>(options_.seed));
    std::string rows;
    for (const TrialRecord& record : result_.trials) rows += trial_row(result_, record).dump() + "\n";
    write_file(path_in(options_.output, "trials.jsonl"), rows);
    const TrialRecord& best = result_.best();
    const std::int64_t steps = result_.rungs[*last_good_rung(best)].steps;
    write_file(path_in(options_.output, "best.toml"), command_.best_toml(best.trial, steps));
    write_file(path_in(options_.output, "tuning.json"), to_json(result_).dump(2) + "\n");
  }

  const TuneOptions& options_;
  const TrialCommand& command_;
  Log& log_;
  TrialJournal journal_;
  TuningResult result_;
  std::mutex mutex_;  // of the journal and the log
};

}  // namespace

TuningResult run_tuning(const TuneOptions& options, const Parsed& parsed, const StageCommands& commands, const std::string& program,
                        Log& log) {
  if (parsed.config.empty()) fail_input("tune: expected a --config file with [[range]] tables, got none");
  const std::string config = read_file(parsed.config);
  const TrialCommand command(options, load_config_file(parsed.config), commands, program);
  std::vector<Rung> rungs = plan_rungs(options.trials, options.min_steps, options.eta, options.rungs);
  const auto seed = static_cast<std::uint64_t>(options.seed);
  std::int64_t number = 0;
  for (const TrialValues& values : draw_trials(command.ranges(), options.trials, seed)) command.told({++number, values}, options.min_steps);
  log.info(plan_text(rungs));
  check_folder(options.output);
  fs::create_directories(options.output);
  return Tuning(options, command, std::move(rungs), log).run(config);
}

}  // namespace metarm
