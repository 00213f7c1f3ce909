#include "metarm/rounds/rounds.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>
#include <variant>

#include "metarm/base/child_process.h"
#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/file_lock.h"
#include "metarm/base/resolved_options.h"
#include "metarm/base/stopwatch.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr double kLockPatience_s = 5;

// {"a": {"b": 1}} to {"prefix.a.b": 1}: numbers alone.
void add_figures(const Json& value, const std::string& name, Json& figures) {
  if (value.is_number()) figures[name] = value;
  if (value.is_object())
    for (const auto& [key, inner] : value.items()) add_figures(inner, name + "." + key, figures);
}

// 0 of a command without such an option.
std::int64_t whole_option(const std::vector<Field>& fields, std::string_view name) {
  const auto found = std::ranges::find_if(fields, [&](const Field& field) { return field.info.name == name; });
  return found == fields.end() ? 0 : std::get<std::int64_t>(found->value);
}

// Of a training: the latest of each figure, whether it ended now or before a kill. `kept_of`: 0, or that of the evaluations every so many
// steps the first with the lowest loss counts, since the training has gone back to its model.
Json last_figures(const std::string& metrics, std::int64_t kept_of) {
  Json figures = Json::object(), kept = Json::object();
  const auto loss = [](const Json& row) { return row["eval_loss"].get<double>(); };
  for_each_row({metrics}, BadRows::stop, [&](const JsonRow& row) {
    figures.update(row.value);
    const bool is_evaluation = row.value.contains("eval_loss") && row.value["eval_loss"].is_number();
    if (kept_of == 0 || !is_evaluation || row.value.value("step", std::int64_t{0}) % kept_of != 0) return;
    if (kept.empty() || loss(row.value) < loss(kept)) kept = row.value;
  });
  for (const auto& [name, value] : kept.items())
    if (name.starts_with("eval_")) figures[name] = value;
  figures.erase("time_s");
  return figures;
}

// What a killed process left under temporary names.
void remove_leftovers(const fs::path& folder) {
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (is_temporary(entry.path().string())) fs::remove_all(entry.path());
}

class Rounds {
 public:
  Rounds(const RoundsOptions& options, std::vector<Stage> stages, const std::string& program, Log& log)
      : options_(options), stages_(std::move(stages)), program_(program), log_(log) {
    models_ = {{"policy", options.policy}, {"rm", options.rm}};
  }

  // All that can be wrong with the stages' options shows before the first one runs.
  void check() {
    const std::map<std::string, std::string> models = models_;
    for (const std::int64_t round : {1, 2}) {
      begin(round);
      for (const Stage& stage : stages_) {
        place(stage);
        resolved(stage);
        leave(stage);
      }
    }
    models_ = models;
    known_.all.clear();
  }

  // `lock`: on the folder, which the stages' programs hold too.
  std::vector<Json> run(const FileLock& lock) {
    lock_ = &lock;
    std::map<std::int64_t, Json> rows = read_rows();
    for (std::int64_t round = 1; round <= options_.rounds; ++round) {
      begin(round);
      fs::create_directories(folder_);
      remove_leftovers(folder_);
      Json figures = Json::object();
      for (const Stage& stage : stages_) {
        place(stage);
        add_figures(run_stage(stage), stage.name, figures);
        leave(stage);
      }
      rows[round] = {{"round", round}, {"figures", figures}};
      write_rows(rows);
    }
    std::vector<Json> all;
    for (const auto& [round, row] : rows) all.push_back(row);
    return all;
  }

 private:
  void begin(std::int64_t round) {
    round_ = round;
    folder_ = fs::path(options_.output) / fmt::format("round-{}", round);
    known_.values = models_;
    known_.values["initial_policy"] = options_.policy;
    known_.values["initial_rm"] = options_.rm;
    known_.values["round"] = fmt::to_string(round);
    std::erase_if(known_.values, [](const auto& entry) { return entry.second.empty(); });
  }

  void place(const Stage& stage) { known_.values["output"] = (folder_ / output_name(stage)).string(); }

  void leave(const Stage& stage) {
    const std::string output = this->output();
    known_.values[stage.name] = output;
    known_.all[stage.name].push_back(output);
    if (!stage.makes.empty()) known_.values[stage.makes] = models_[stage.makes] = output;
  }

  const std::string& output() const { return known_.values.at("output"); }

  std::vector<Field> options_of(const Stage& stage) const { return resolve_options(stage, known_, seed(), options_.common.quiet); }

  // What the stage is told, as text: equal texts, equal results.
  std::string resolved(const Stage& stage) const {
    if (stage.command.empty()) return fill_in(stage.run, known_, stage.where + ": run", true);
    return fmt::format("# metarm {}\n{}", stage.command, to_toml(options_of(stage)));
  }
  std::int64_t seed() const { return options_.seed + round_ - 1; }
  std::string file(const Stage& stage, const char* ending) const { return (folder_ / (stage.name + ending)).string(); }

  // Its figures, now or from before.
  Json run_stage(const Stage& stage) {
    const std::string done = file(stage, ".done.json"), told = resolved(stage);
    if (fs::exists(done)) {
      const Json record = load_json(done);
      check_same_options(stage, record.value("options", ""), told, done);
      return record.value("figures", Json::object());
    }
    log_.info(fmt::format("round {} of {}: {}", round_, options_.rounds, stage.name));
    const Stopwatch stopwatch;
    const Json figures = stage.command.empty() ? run_program(stage, told) : run_command(stage, told);
    const double seconds = stopwatch.seconds();
    write_file(done, Json{{"options", told}, {"figures", figures}, {"seconds", seconds}}.dump(2) + "\n");
    return figures;
  }

  static void check_same_options(const Stage& stage, const std::string& then, const std::string& now, const std::string& done) {
    if (then == now) return;
    const std::string difference = stage.command.empty() ? "another line" : find_difference(then, now);
    if (!difference.empty())
      fail_input(
          "{}: stage {}: expected the options with which it ran (they are in {}), got {}; choose another --output, or remove that file to "
          "run it again",
          stage.where, stage.name, done, difference);
  }

  Json run_command(const Stage& stage, const std::string& told) {
    // What a stage that was killed before it was marked as done has left: a training goes on with it, any other command begins anew.
    if (!is_resumable(stage)) fs::remove_all(output());
    const std::string config = file(stage, ".toml");
    write_file(config, told);
    std::vector<std::string> arguments;
    std::istringstream launcher(options_.launcher);
    for (std::string word; launcher >> word;) arguments.push_back(word);
    arguments.insert(arguments.end(), {program_, stage.command, "--config", config});
    const FinishedProcess finished = run_process(arguments, *lock_);
    check_end(stage, finished);
    const fs::path metrics = fs::path(output()) / "metrics.jsonl";
    if (fs::exists(metrics)) {
      const std::vector<Field> fields = options_of(stage);
      const bool stops_early = whole_option(fields, "early-stopping-patience") > 0;
      return last_figures(metrics.string(), stops_early ? whole_option(fields, "eval-steps") : 0);
    }
    return parse_json(finished.standard_out, fmt::format("{}: what metarm {} printed", stage.where, stage.command));
  }

  // A program of the user's own: figures are the JSON object that it prints, if it prints one.
  Json run_program(const Stage& stage, const std::string& line) {
    const FinishedProcess finished = run_process({"/bin/sh", "-c", line}, *lock_);
    check_end(stage, finished);
    if (!stage.makes.empty() && !fs::exists(output()))
      fail_input("{}: stage {}: expected it to leave {}, got nothing there", stage.where, stage.name, output());
    const Json printed = Json::parse(finished.standard_out, nullptr, false);
    return printed.is_object() ? printed : Json::object();
  }

  void check_end(const Stage& stage, const FinishedProcess& finished) const {
    if (finished.exit_code == 0) return;
    const bool is_other_run = finished.exit_code == exit_code(ErrorKind::resumption);
    const bool is_input = finished.exit_code == exit_code(ErrorKind::input) || is_other_run;
    const bool begins_anew = is_other_run && !stage.command.empty();
    throw Error(is_input ? ErrorKind::input : ErrorKind::io,
                fmt::format("{}: stage {} of round {}: ended with exit code {}; mend what it says above{}, then the same command goes on",
                            stage.where, stage.name, round_, finished.exit_code,
                            begins_anew ? fmt::format(", or remove {} to begin the stage anew", output()) : ""));
  }

  std::string rows_path() const { return (fs::path(options_.output) / "rounds.jsonl").string(); }

  // Of earlier calls, by round: they stay until this one has finished theirs.
  std::map<std::int64_t, Json> read_rows() const {
    std::map<std::int64_t, Json> rows;
    if (!fs::exists(rows_path())) return rows;
    for_each_row({rows_path()}, BadRows::stop, [&](const JsonRow& row) {
      const Json& round = require_field(row.value, "round", row.where());
      if (!round.is_number_integer()) fail_input("{}: round: expected a whole number, got {}", row.where(), json_type_name(round));
      rows[round.get<std::int64_t>()] = row.value;
    });
    return rows;
  }

  void write_rows(const std::map<std::int64_t, Json>& rows) const {
    std::string text;
    for (const auto& [round, row] : rows) text += row.dump() + "\n";
    write_file(rows_path(), text);
  }

  const RoundsOptions& options_;
  const std::vector<Stage> stages_;
  const std::string& program_;
  Log& log_;
  std::map<std::string, std::string> models_;  // policy and rm, the newest
  Placeholders known_;
  std::int64_t round_ = 0;
  fs::path folder_;
  const FileLock* lock_ = nullptr;
};

}  // namespace

std::vector<Json> run_rounds(const RoundsOptions& options, const Parsed& parsed, const StageCommands& commands, const std::string& program,
                             Log& log) {
  if (parsed.tables.empty()) fail_input("rounds: expected a --config file with [[stage]] tables, got none");
  const std::string config = read_file(parsed.config);
  Rounds rounds(options, read_stages(parsed.tables, commands), program, log);
  rounds.check();
  fs::create_directories(options.output);
  const FileLock lock((fs::path(options.output) / "rounds.lock").string(), kLockPatience_s);
  remove_leftovers(options.output);
  write_file((fs::path(options.output) / "config.toml").string(), config);
  return rounds.run(lock);
}

}  // namespace metarm
