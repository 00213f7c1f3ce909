#include "metarm/train/run_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/resolved_options.h"
#include "metarm/base/wall_clock.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStepPrefix = "step-";
// Beside kFreeOptions.
const std::set<std::string> kFreeOfRuns = {"output", "resume", "save_steps", "save_total_limit"};

std::int64_t max_steps_of(const std::map<std::string, std::string>& options) {
  const auto found = options.find("max_steps");
  return found == options.end() ? 0 : std::atoll(found->second.c_str());
}

// Whether only more steps are asked for, of a run whose first ones are the same however many follow.
bool prolongs(const std::map<std::string, std::string>& then, const std::map<std::string, std::string>& now) {
  const auto is = [&](const char* key, const char* value) {
    const auto found = now.find(key);
    return found != now.end() && found->second == value;
  };
  return max_steps_of(then) > 0 && max_steps_of(now) > max_steps_of(then) && is("lr_schedule", "\"constant\"") && is("warmup_ratio", "0.0");
}

// The first line: TOML takes it for a comment, and --config FILE takes the rest.
std::string command_line(const std::string& command) { return "# metarm " + command; }

void check_same_options(const std::string& config_path, const std::string& command, const std::string& config_toml) {
  const std::string text = read_file(config_path);
  const std::string begun = text.substr(0, text.find('\n'));
  if (begun.starts_with(command_line("")) && begun != command_line(command))
    fail_resumption("{}: expected to go on with {}, which began the run, got {}", config_path, begun.substr(command_line("").size()),
                    command);
  const std::map<std::string, std::string> then = parse_resolved(text), now = parse_resolved(config_toml);
  for (const auto& [key, value] : now) {
    const auto found = then.find(key);
    if (found == then.end() || found->second == value || kFreeOptions.contains(key) || kFreeOfRuns.contains(key)) continue;
    if (key == "max_steps" && prolongs(then, now)) continue;
    fail_resumption("{}: {}: expected {}, with which the run began, got {}; --resume goes on with the same options{}", config_path, key,
                    found->second, value,
                    key == "max_steps" ? ", and with more steps where the learning rate is constant without warm-up" : "");
  }
}

// Whether a run may have to be kept there.
bool has_files(const std::string& path) {
  if (!fs::is_directory(path)) return fs::exists(path);
  return std::ranges::any_of(fs::directory_iterator(path),
                             [](const fs::directory_entry& entry) { return !is_temporary(entry.path().string()); });
}

// The N of step-N.
std::optional<std::int64_t> step_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  std::int64_t step = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kStepPrefix) || std::from_chars(name.data() + kStepPrefix.size(), end, step).ptr != end) return std::nullopt;
  return step;
}

void append_line(const std::string& path, const std::string& line) {
  std::FILE* file = std::fopen(path.c_str(), "a");
  const bool written = file != nullptr && std::fputs((line + "\n").c_str(), file) >= 0;
  if ((file != nullptr && std::fclose(file) != 0) || !written) fail_io("{}: could not write; is the disk full?", path);
}

}  // namespace

RunDirectory::RunDirectory(std::string path, const char* command, const std::vector<Field>& options, bool resume, bool writes)
    : path_(std::move(path)), config_toml_(command_line(command) + "\n" + to_toml(options)), writes_(writes) {
  if (!has_files(path_)) return;
  if (!resume)
    fail_input("--output {}: expected a folder that does not exist yet; choose another, or go on with the run in it by --resume", path_);
  if (!fs::exists(file("config.toml"))) fail_resumption("--output {}: expected a run to resume, got a folder without config.toml", path_);
  check_same_options(file("config.toml"), command, config_toml_);
}

std::string RunDirectory::file(const char* name) const { return (fs::path(path_) / name).string(); }

bool RunDirectory::finished() const {
  if (!fs::exists(file("config.json")) && !fs::exists(file("adapter_config.json"))) return false;
  return !fs::exists(file("config.toml")) || !prolongs(parse_resolved(read_file(file("config.toml"))), parse_resolved(config_toml_));
}

std::string RunDirectory::checkpoint_path(std::int64_t step) const {
  return (fs::path(path_) / "checkpoints" / fmt::format("{}{}", kStepPrefix, step)).string();
}

std::vector<std::int64_t> RunDirectory::checkpoint_steps() const {
  std::vector<std::int64_t> steps;
  if (!fs::is_directory(file("checkpoints"))) return steps;
  for (const fs::directory_entry& entry : fs::directory_iterator(file("checkpoints")))
    if (const std::optional<std::int64_t> step = step_of(entry.path())) steps.push_back(*step);
  std::ranges::sort(steps);
  return steps;
}

std::optional<std::int64_t> RunDirectory::last_checkpoint(std::int64_t most) const {
  std::vector<std::int64_t> steps = checkpoint_steps();
  std::erase_if(steps, [&](std::int64_t step) { return step > most; });
  return steps.empty() ? std::nullopt : std::optional(steps.back());
}

void RunDirectory::expect_data(Json data) {
  data_ = std::move(data);
  if (!fs::exists(file("data.json"))) return;
  const Json then = load_json(file("data.json"));
  for (const auto& [name, now] : data_.items()) {
    const Json& before = require_field(then, name.c_str(), file("data.json"));
    if (before == now) continue;
    const std::string where = fmt::format("{}: {}", file("data.json"), name);
    const double rows = number_field(before, "rows", where);
    fail_resumption("{}: expected the {} rows with which the run began, got {}; --resume goes on with the same rows", where, rows,
                    now["rows"] == before["rows"] ? "as many others" : now["rows"].dump());
  }
}

void RunDirectory::remove_leftovers() const {
  for (const fs::directory_entry& entry : fs::directory_iterator(path_))
    if (is_temporary(entry.path().string())) fs::remove_all(entry.path());
  if (!fs::is_directory(file("checkpoints"))) return;
  for (const fs::directory_entry& entry : fs::directory_iterator(file("checkpoints")))
    if (is_temporary(entry.path().string())) fs::remove_all(entry.path());
}

void RunDirectory::begin_at(std::int64_t step) {
  if (!writes_) return;
  std::error_code error;
  fs::create_directories(path_, error);
  if (error) fail_io("--output {}: could not make the folder: {}", path_, error.message());
  remove_leftovers();
  // The model of a shorter run is not that of the one that prolongs it, nor is the folder finished from here on.
  for (const char* name : {"config.json", "adapter_config.json"}) fs::remove(file(name));
  write_file(file("config.toml"), config_toml_);
  write_file(file("data.json"), data_.dump(2) + "\n");
  std::string kept;
  std::vector<Json> rows;
  if (fs::exists(file("metrics.jsonl")))
    for_each_line(file("metrics.jsonl"), [&](std::string_view line, std::int64_t) {
      const Json row = Json::parse(line, nullptr, false);  // the last line of a killed run may be torn
      if (!row.is_object() || row.value("step", std::int64_t{0}) > step) return;
      kept += std::string(line) + "\n";
      rows.push_back(row);
    });
  write_file(file("metrics.jsonl"), kept);
  fs::remove(file("events.out.tfevents.metarm"));
  events_ = std::make_unique<EventFile>(file("events.out.tfevents.metarm"));
  skipped_steps_ = 0;
  for (const Json& row : rows) take_row(row);
}

void RunDirectory::take_row(const Json& row) {
  const std::int64_t step = row.value("step", std::int64_t{0});
  skipped_steps_ += row.contains("skipped");
  for (const auto& [name, value] : row.items())
    if (value.is_number() && name != "step" && name != "time_s") events_->scalar(name, step, value.get<double>(), row.value("time_s", 0.0));
  events_->flush();
}

void RunDirectory::record(std::int64_t step, Json metrics) {
  if (!writes_) return;
  metrics["step"] = step;
  metrics["time_s"] = seconds_since_1970();
  append_line(file("metrics.jsonl"), metrics.dump());
  take_row(metrics);
}

void RunDirectory::save_model(const std::function<void(const std::string&)>& write) const {
  if (writes_) write(path_);
}

void RunDirectory::save_checkpoint(std::int64_t step, const std::function<void(const std::string&)>& write) {
  if (!writes_) return;
  AtomicDirectory folder(checkpoint_path(step));
  write(folder.path());
  folder.commit();
}

void RunDirectory::remove_old_checkpoints(std::int64_t most, std::int64_t keep, std::int64_t best) const {
  if (!writes_ || keep == 0) return;
  std::vector<std::int64_t> steps = checkpoint_steps();
  std::erase_if(steps, [&](std::int64_t step) { return step > most; });
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < steps.size(); ++i)
    if (steps[i] != best) fs::remove_all(checkpoint_path(steps[i]));
}

}  // namespace metarm
