#include "metarm/tune/trial_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>
#include <sstream>
#include <utility>

#include "metarm/base/child_process.h"
#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

const std::set<std::string> kChosen = {"output", "resume", "json", "quiet", "max_steps", "epochs", "save_steps", "save_total_limit"};
const std::set<std::string> kPlaceholders = {"output", "steps", "trial", "seed"};
// Of a run directory: what is no weight.
const std::set<std::string> kFigures = {"config.toml", "data.json", "metrics.jsonl", "events.out.tfevents.metarm"};
constexpr std::size_t kMaxReason = 400;

std::string key_of(const Field& field) {
  std::string key = field.info.name;
  std::ranges::replace(key, '-', '_');
  return key;
}

const Field* find_field(const std::vector<Field>& fields, const std::string& key) {
  const auto found = std::ranges::find(fields, key, key_of);
  return found == fields.end() ? nullptr : &*found;
}

void check_option(const std::string& key, const std::string& where) {
  if (kChosen.contains(key)) fail_input("{}: expected none: the tuning chooses it", where);
  if (key == "early_stopping_patience")
    fail_input("{}: expected none: a trial that ends early has no figure at its last step, and the rungs end trials early themselves",
               where);
}

bool has_entry(const ConfigTable& table, const std::string& key) {
  return std::ranges::find(table.entries, key, &ConfigEntry::key) != table.entries.end();
}

std::string where_of(const ConfigFile& file, const std::string& key) {
  const auto found = std::ranges::find(file.top.entries, key, &ConfigEntry::key);
  return found == file.top.entries.end() ? fmt::format("tune: --{}", key) : found->where;
}

bool is_training(const std::vector<Field>& fields) {
  return std::ranges::all_of(std::vector<std::string>{"output", "resume", "max_steps", "save_steps", "lr_schedule", "warmup_ratio"},
                             [&](const std::string& key) { return find_field(fields, key) != nullptr; });
}

// The last line that is not empty, for people.
std::string last_line(const std::string& log) {
  std::string last;
  std::error_code error;
  if (fs::exists(log, error))
    for_each_line(log, [&](std::string_view line, std::int64_t) {
      if (line.find_first_not_of(" \t") != line.npos) last = line;
    });
  return last.starts_with("metarm: ") ? last.substr(8) : last;
}

std::string reason(int exit_code, const std::string& line) {
  const std::string words = line.size() > kMaxReason || !is_valid_utf8(line) ? "" : line;
  const std::string end = exit_code > 128 ? fmt::format("ended by signal {}", exit_code - 128) : fmt::format("exit code {}", exit_code);
  return words.empty() ? end : fmt::format("{}: {}", end, words);
}

// {"a": {"b": 1}} to {"a.b": 1}; a figure that is null is kept, since it was not finite.
void add_figures(const Json& value, const std::string& name, Json& figures) {
  if (value.is_number() || value.is_null()) figures[name] = value;
  if (value.is_object())
    for (const auto& [key, inner] : value.items()) add_figures(inner, name.empty() ? key : name + "." + key, figures);
}

// The run's figures at its step `steps`, and null under the names of those that it has at other steps alone.
Json figures_at(const std::string& metrics, std::int64_t steps) {
  Json figures = Json::object(), others = Json::object();
  for_each_row({metrics}, BadRows::stop, [&](const JsonRow& row) {
    const bool is_there = row.value.value("step", std::int64_t{-1}) == steps;
    for (const auto& [name, value] : row.value.items()) (is_there ? figures : others)[name] = is_there ? value : Json();
  });
  for (const auto& [name, value] : others.items())
    if (!figures.contains(name)) figures[name] = value;
  return figures;
}

}  // namespace

TrialCommand::TrialCommand(const TuneOptions& options, const ConfigFile& file, const StageCommands& commands, std::string program)
    : options_(options),
      program_(std::move(program)),
      where_(file.top.where),
      figure_where_(where_of(file, "figure")),
      run_where_(where_of(file, "run")) {
  if (options.command.empty() == options.run.empty())
    fail_input("{}: expected either command, a training of metarm's, or run, a program's line", where_);
  const auto ranges = file.arrays.find("range");
  if (ranges == file.arrays.end()) fail_input("{}: expected a [[range]] at least, got none; there is nothing to tune", where_);
  ranges_ = read_ranges(ranges->second);
  if (const auto fixed = file.arrays.find("options"); fixed != file.arrays.end()) {
    if (fixed->second.size() > 1) fail_input("{}: expected [options] once, got it twice", fixed->second[1].where);
    fixed_ = fixed->second.front();
  }
  if (options.command.empty())
    read_program();
  else
    read_command(file, commands);
}

void TrialCommand::read_command(const ConfigFile& file, const StageCommands& commands) {
  std::vector<std::string> trainings;
  for (const std::string& name : commands.names)
    if (is_training(commands.fields(name))) trainings.push_back(name);
  if (std::ranges::find(trainings, options_.command) == trainings.end())
    fail_input("{}: expected one of {}, got '{}'", where_of(file, "command"), fmt::join(trainings, ", "), options_.command);
  fields_ = commands.fields(options_.command);
  for (const ConfigEntry& entry : fixed_.entries) check_option(entry.key, entry.where);
  for (Range& range : ranges_) {
    check_option(range.option, fmt::format("{}: {}", range.where, range.option));
    if (has_entry(fixed_, range.option)) fail_input("{}: {}: expected it once, got it in [options] too", range.where, range.option);
    if (const Field* field = find_field(fields_, range.option)) fit_range(range, *field);
  }
}

void TrialCommand::read_program() {
  if (!fixed_.entries.empty()) fail_input("{}: expected no options beside run: they are words of its line", fixed_.entries.front().where);
  for (const Range& range : ranges_) {
    if (kPlaceholders.contains(range.option))
      fail_input("{}: option: expected a name other than {}, got '{}'", range.where, fmt::join(kPlaceholders, ", "), range.option);
    if (options_.run.find("{" + range.option + "}") == options_.run.npos)
      fail_input("{}: expected {{{}}} in it, since there is a range for it", run_where_, range.option);
  }
}

std::string TrialCommand::told(const Trial& trial, std::int64_t steps) const {
  if (options_.command.empty()) return filled(trial, steps);
  check_schedule(trial, steps);
  return fmt::format("# metarm {}\n{}", options_.command, to_toml(resolved(trial, steps, output(trial), true)));
}

std::vector<Field> TrialCommand::resolved(const Trial& trial, std::int64_t steps, const std::string& left_at, bool within_tuning) const {
  ConfigTable table = fixed_;
  for (std::size_t i = 0; i < ranges_.size(); ++i)
    table.entries.push_back({ranges_[i].option, fmt::format("{}: {}", ranges_[i].where, ranges_[i].option), trial.values[i]});
  const auto add = [&](const char* key, ConfigValue value) {
    if (!has_entry(table, key)) table.entries.push_back({key, fmt::format("{}: {}", where_, key), std::move(value)});
  };
  add("output", left_at);
  add("seed", options_.seed);
  add("max_steps", steps);
  if (within_tuning) {
    add("resume", true);
    add("json", true);
    add("save_steps", steps);  // one checkpoint, at its end, from which the next rung goes on
  }
  std::vector<Field> fields = fields_;
  parse_fields(fixed_.where.empty() ? where_ : fixed_.where, fields, table);
  return fields;
}

// The first steps of a short run must be those of a longer one.
void TrialCommand::check_schedule(const Trial& trial, std::int64_t steps) const {
  if (options_.rungs == 1 || options_.trials < options_.eta) return;
  for (const Field& field : resolved(trial, steps, output(trial), true)) {
    const std::string key = key_of(field);
    const auto* schedule = std::get_if<EnumRef>(&field.value);
    const auto* warmup = std::get_if<double>(&field.value);
    if (key == "lr_schedule" && schedule->names.at(static_cast<std::size_t>(schedule->index)) != "constant")
      fail_input(
          "{}: lr_schedule: expected constant, got {}; a trial that goes on to more steps cannot change the learning rate of those it "
          "took, "
          "which depends on their number; or rungs = 1",
          fixed_.where.empty() ? where_ : fixed_.where, schedule->names.at(static_cast<std::size_t>(schedule->index)));
    if (key == "warmup_ratio" && *warmup != 0)
      fail_input("{}: warmup_ratio: expected 0, got {}; a trial's warm-up would depend on how many steps it has; or rungs = 1",
                 fixed_.where.empty() ? where_ : fixed_.where, *warmup);
  }
}

std::string TrialCommand::filled(const Trial& trial, std::int64_t steps) const {
  Placeholders known;
  known.values = {{"output", output(trial)},
                  {"steps", fmt::to_string(steps)},
                  {"trial", fmt::to_string(trial.number)},
                  {"seed", fmt::to_string(options_.seed)}};
  for (std::size_t i = 0; i < ranges_.size(); ++i) known.values[ranges_[i].option] = value_text(trial.values[i]);
  return fill_in(options_.run, known, run_where_, true);
}

std::string TrialCommand::folder(const Trial& trial) const {
  return (fs::path(options_.output) / fmt::format("trial-{}", trial.number)).string();
}
std::string TrialCommand::output(const Trial& trial) const { return (fs::path(folder(trial)) / "run").string(); }
std::string TrialCommand::file(const Trial& trial, std::int64_t steps, const char* ending) const {
  return (fs::path(folder(trial)) / fmt::format("steps-{}{}", steps, ending)).string();
}

std::vector<std::string> TrialCommand::arguments(const Trial& trial, std::int64_t steps, std::int64_t slot) const {
  if (options_.command.empty()) return {"/bin/sh", "-c", filled(trial, steps)};
  const std::string config = file(trial, steps, ".toml");
  write_file(config, told(trial, steps));
  std::vector<std::string> words;
  std::istringstream launcher(options_.launcher);
  for (std::string word; launcher >> word;)
    words.push_back(fill_in(word, {.values = {{"slot", fmt::to_string(slot)}}, .all = {}}, where_ + ": launcher"));
  words.insert(words.end(), {program_, options_.command, "--config", config});
  return words;
}

std::optional<TrialOutcome> TrialCommand::run(const Trial& trial, std::int64_t steps, std::int64_t slot,
                                              const std::function<bool()>& cancelled) const {
  fs::create_directories(folder(trial));
  const std::string log = file(trial, steps, ".log");
  const FinishedProcess finished = run_process(arguments(trial, steps, slot), {.niceness = 0, .errors_to = log, .cancelled = cancelled});
  if (finished.killed) return std::nullopt;
  if (finished.exit_code != 0) {
    const std::string words = last_line(log);
    if (!options_.command.empty() && finished.exit_code == exit_code(ErrorKind::resumption))  // no fault of the trial's
      fail_input("trial {}: {}", trial.number, words);
    return TrialOutcome{std::nullopt, reason(finished.exit_code, words)};
  }
  return read_figure(trial, steps, finished.standard_out);
}

TrialOutcome TrialCommand::read_figure(const Trial& trial, std::int64_t steps, const std::string& printed) const {
  Json figures = Json::object();
  if (options_.command.empty())
    add_figures(parse_json(printed, fmt::format("{}: what trial {} printed", run_where_, trial.number)), "", figures);
  else
    figures = figures_at((fs::path(output(trial)) / "metrics.jsonl").string(), steps);
  const auto found = figures.find(options_.figure);
  if (found == figures.end()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : figures.items()) names.push_back(name);
    fail_input("{}: expected one of {}, which trial {} has, got {}", figure_where_, fmt::join(names, ", "), trial.number, options_.figure);
  }
  if (!found->is_number() || !std::isfinite(found->get<double>()))
    return {std::nullopt, fmt::format("{} is not a finite number at step {}", options_.figure, steps)};
  return {found->get<double>(), ""};
}

void TrialCommand::remove_weights(const Trial& trial) const {
  if (options_.command.empty() || !fs::is_directory(output(trial))) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(output(trial)))
    if (!kFigures.contains(entry.path().filename().string())) fs::remove_all(entry.path());
}

std::string TrialCommand::best_toml(const Trial& trial, std::int64_t steps) const {
  if (!options_.command.empty())
    return fmt::format("# metarm {}\n{}", options_.command,
                       to_toml(resolved(trial, steps, (fs::path(options_.output) / "best").string(), false)));
  std::string text = fmt::format("# {}\n", filled(trial, steps));
  std::ranges::replace(text.begin(), text.end() - 1, '\n', ' ');
  for (std::size_t i = 0; i < ranges_.size(); ++i) {
    const bool is_text = std::holds_alternative<std::string>(trial.values[i]);
    text += fmt::format("{} = {}\n", ranges_[i].option, is_text ? Json(value_text(trial.values[i])).dump() : value_text(trial.values[i]));
  }
  return text;
}

}  // namespace metarm
