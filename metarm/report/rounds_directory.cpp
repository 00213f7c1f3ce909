#include "metarm/report/rounds_directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <optional>
#include <unordered_map>
#include <utility>

#include "metarm/base/config_file.h"
#include "metarm/base/error.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRoundPrefix = "round-";
constexpr double kNormal95 = 1.959964;  // standard errors to either side that hold 95 %

// The N of round-N.
std::optional<std::int64_t> round_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  std::int64_t number = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kRoundPrefix) || std::from_chars(name.data() + kRoundPrefix.size(), end, number).ptr != end) return std::nullopt;
  return number >= 0 ? std::optional(number) : std::nullopt;
}

std::vector<std::int64_t> round_numbers(const std::string& folder) {
  std::vector<std::int64_t> numbers;
  if (!fs::is_directory(folder)) return numbers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (const std::optional<std::int64_t> number = round_of(entry.path()); number && entry.is_directory()) numbers.push_back(*number);
  std::ranges::sort(numbers);
  return numbers;
}

struct StageName {
  std::string name, command;
};

std::vector<StageName> read_stage_names(const std::string& config) {
  std::vector<StageName> stages;
  const ConfigFile file = load_config_file(config);
  const auto found = file.arrays.find("stage");
  if (found == file.arrays.end()) return stages;
  for (const ConfigTable& table : found->second) {
    StageName& stage = stages.emplace_back();
    for (const ConfigEntry& entry : table.entries)
      if (const auto* text = std::get_if<std::string>(&entry.value)) {
        if (entry.key == "name") stage.name = *text;
        if (entry.key == "command") stage.command = *text;
      }
    if (stage.name.empty()) fail_input("{}: name: expected one for the stage, got none", table.where);
  }
  return stages;
}

// Whether `name` is an end of the interval of another figure in `object`.
bool is_interval_end(const Json& object, const std::string& name) {
  for (const std::string_view end : {"_low", "_high"})
    if (name.ends_with(end) && object.contains(name.substr(0, name.size() - end.size()))) return true;
  return false;
}

bool has_number(const Json& object, const std::string& field) { return object.contains(field) && object[field].is_number(); }

void add_figures(const Json& object, const std::string& prefix, Json& figures) {
  for (const auto& [key, value] : object.items()) {
    const std::string name = prefix + key, low = key + "_low", high = key + "_high";
    if (value.is_number() && !is_interval_end(object, key)) {
      figures[name] = {{"value", value}};
      if (has_number(object, low) && has_number(object, high)) figures[name].update({{"low", object[low]}, {"high", object[high]}});
    } else if (value.is_object() && has_number(value, "mean") && has_number(value, "standard_error")) {
      const double mean = value["mean"].get<double>(), half = kNormal95 * value["standard_error"].get<double>();
      figures[name] = {{"value", mean}, {"low", mean - half}, {"high", mean + half}};
    } else if (value.is_object()) {
      add_figures(value, name + ".", figures);
    }
  }
}

// figures[part][name] of what a command said, or null.
Json list_of(const Json& said, const char* part, const char* name) {
  const auto found = said.find(part);
  return found != said.end() && found->is_object() ? found->value(name, Json()) : Json();
}

// Counts in equal steps from 0, the last bin open, as `eval` writes them.
Json parse_histogram(const Json& said, const std::string& where) {
  const Json counts = list_of(said, "responses", "histogram");
  if (counts.is_null() || counts.empty()) return {};
  const std::string in_responses = where + ": responses";
  if (!counts.is_array() || !std::ranges::all_of(counts, [](const Json& count) { return count.is_number(); }))
    fail_input("{}: histogram: expected a list of numbers, got {}", in_responses, counts.dump());
  const double step = number_field(said["responses"], "scaled_histogram_step", in_responses);
  Json edges = Json::array();
  for (std::size_t i = 0; i < counts.size(); ++i) edges.push_back(step * static_cast<double>(i));
  return {{"edges", edges}, {"counts", counts}};
}

Json parse_calibration(const Json& said, const std::string& where) {
  const Json bins = list_of(said, "pairs", "calibration");
  if (bins.is_null() || bins.empty()) return {};
  const std::string in_pairs = where + ": pairs: calibration";
  if (!bins.is_array()) fail_input("{}: expected a list of bins, got {}", in_pairs, json_type_name(bins));
  Json taken = Json::array();
  for (const Json& bin : bins) {
    Json& kept = taken.emplace_back(Json::object());
    for (const char* field : {"confidence", "accuracy", "pairs"}) kept[field] = number_field(bin, field, in_pairs);
  }
  return taken;
}

StageRecord read_stage(const fs::path& round, const StageName& stage) {
  StageRecord record;
  record.name = stage.name;
  record.command = stage.command;
  if (!is_training_run((round / stage.name).string())) record.config = read_config((round / (stage.name + ".toml")).string());
  const std::string done = (round / (stage.name + ".done.json")).string();
  if (!fs::exists(done)) return record;
  const Json written = load_json(done);
  const std::string where = done + ": figures";
  const Json& said = require_field(written, "figures", done);
  if (!said.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(said));
  record.finished = true;
  record.seconds = number_field(written, "seconds", done);
  record.figures = parse_figures(said);
  record.histogram = parse_histogram(said, where);
  record.calibration = parse_calibration(said, where);
  return record;
}

// Where a stage leaves response groups: `sample` and `score` as rows, `eval` those that it measured. Nothing of other commands.
std::string groups_path(const fs::path& round, const StageName& stage) {
  if (stage.command == "sample" || stage.command == "score") return (round / (stage.name + ".jsonl")).string();
  return stage.command == "eval" ? (round / stage.name / "prompts.jsonl").string() : "";
}

// The response groups of a round, each once: where a later stage has the same with rewards, with these.
class RoundSamples {
 public:
  explicit RoundSamples(std::int64_t limit) : limit_(limit) {}

  void add(const std::string& stage, const std::string& path) {
    Samples own{stage, "", 0, {}};
    std::unordered_map<std::string, Place> added;
    for_each_row({path}, BadRows::stop, [&](const JsonRow& row) {
      if (!row.value.contains("responses")) return;
      ResponseGroup group = parse_response_group(row, 1);
      const std::string key = Json::array({row.value["prompt"], row.value["responses"]}).dump();
      if (const auto found = known_.find(key); found != known_.end()) return take_rewards(stage, group, found->second);
      added.emplace(key, Place{samples_.size(), own.total});
      if (own.total++ >= limit_) return;
      if (!group.rewards.empty()) own.scored_by = stage;
      own.groups.push_back(std::move(group));
    });
    if (own.total == 0) return;
    samples_.push_back(std::move(own));
    known_.merge(added);
  }

  std::vector<Samples> take() { return std::move(samples_); }

 private:
  struct Place {
    std::size_t samples;
    std::int64_t group;
  };

  void take_rewards(const std::string& stage, const ResponseGroup& group, const Place& place) {
    if (group.rewards.empty() || place.group >= limit_) return;
    samples_[place.samples].scored_by = stage;
    samples_[place.samples].groups[static_cast<std::size_t>(place.group)].rewards = group.rewards;
  }

  std::int64_t limit_;
  std::vector<Samples> samples_;
  std::unordered_map<std::string, Place> known_;  // by prompt and responses
};

Json to_json(const StageRecord& stage) {
  return {
      {"name", stage.name},       {"command", stage.command},     {"finished", stage.finished},       {"seconds", stage.seconds},
      {"figures", stage.figures}, {"histogram", stage.histogram}, {"calibration", stage.calibration}, {"settings", to_json(stage.config)}};
}

Json to_json(const Samples& samples) {
  Json groups = Json::array();
  for (const ResponseGroup& group : samples.groups) groups.push_back(to_json(group));
  return {{"stage", samples.stage}, {"scored_by", samples.scored_by}, {"total", samples.total}, {"groups", groups}};
}

Json to_json(const Round& round) {
  Json stages = Json::array(), samples = Json::array();
  for (const StageRecord& stage : round.stages) stages.push_back(to_json(stage));
  for (const Samples& some : round.samples) samples.push_back(to_json(some));
  return {{"round", round.number}, {"stages", stages}, {"samples", samples}};
}

}  // namespace

bool is_rounds_directory(const std::string& folder) { return !round_numbers(folder).empty(); }

Json parse_figures(const Json& said) {
  Json figures = Json::object();
  add_figures(said, "", figures);
  return figures;
}

RoundsDirectory read_rounds_directory(const std::string& folder, const std::string& name, std::int64_t samples) {
  const std::string config = (fs::path(folder) / "config.toml").string();
  RoundsDirectory directory{name, read_config(config), {}, {}};
  const std::vector<StageName> stages = read_stage_names(config);
  for (const std::int64_t number : round_numbers(folder)) {
    const std::string round_name = fmt::format("{}{}", kRoundPrefix, number);
    const fs::path in_round = fs::path(folder) / round_name;
    Round& round = directory.rounds.emplace_back();
    round.number = number;
    RoundSamples groups(samples);
    for (const StageName& stage : stages) {
      round.stages.push_back(read_stage(in_round, stage));
      if (const std::string path = groups_path(in_round, stage); samples > 0 && fs::exists(path)) groups.add(stage.name, path);
      if (const std::string run = (in_round / stage.name).string(); is_training_run(run))
        directory.runs.push_back(read_training_run(run, fmt::format("{}/{}", round_name, stage.name)));
    }
    round.samples = groups.take();
  }
  return directory;
}

Json to_json(const RoundsDirectory& directory) {
  Json rounds = Json::array();
  for (const Round& round : directory.rounds) rounds.push_back(to_json(round));
  return {{"name", directory.name}, {"settings", to_json(directory.config)}, {"rounds", rounds}};
}

}  // namespace metarm
