#include "metarm/report/rounds_directory.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <optional>

#include "metarm/base/error.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kRoundPrefix = "round-";

std::string in_folder(const std::string& folder, const std::string& name) { return (fs::path(folder) / name).string(); }

// The N of round-N.
std::optional<std::int64_t> round_of(const fs::path& folder) {
  const std::string name = folder.filename().string();
  std::int64_t number = 0;
  const char* end = name.data() + name.size();
  if (!name.starts_with(kRoundPrefix) || std::from_chars(name.data() + kRoundPrefix.size(), end, number).ptr != end) return std::nullopt;
  return number >= 0 ? std::optional(number) : std::nullopt;
}

std::vector<std::int64_t> round_folders(const std::string& folder) {
  std::vector<std::int64_t> numbers;
  if (!fs::is_directory(folder)) return numbers;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (const std::optional<std::int64_t> number = round_of(entry.path()); number && entry.is_directory()) numbers.push_back(*number);
  return numbers;
}

Json parse_figure(const Json& value, const std::string& name, const std::string& where) {
  if (value.is_number()) return {{"value", value}};
  if (!value.is_object()) fail_input("{}: {}: expected a number or {{value, low, high}}, got {}", where, name, json_type_name(value));
  const std::string in_figure = fmt::format("{}: {}", where, name);
  Json figure = {{"value", number_field(value, "value", in_figure)}};
  if (value.contains("low") || value.contains("high"))
    for (const char* end : {"low", "high"}) figure[end] = number_field(value, end, in_figure);
  return figure;
}

// Whether `name` is an end of the interval of another figure in `object`.
bool is_interval_end(const Json& object, const std::string& name) {
  for (const std::string_view end : {"_low", "_high"})
    if (name.ends_with(end) && object.contains(name.substr(0, name.size() - end.size()))) return true;
  return false;
}

void check_numbers(const Json& list, const char* field, const std::string& where) {
  if (!list.is_array()) fail_input("{}: {}: expected a list of numbers, got {}", where, field, json_type_name(list));
  for (const Json& value : list)
    if (!value.is_number()) fail_input("{}: {}: expected numbers, got {}", where, field, json_type_name(value));
}

Json parse_histogram(const Json& value, const std::string& where) {
  const Json& edges = require_field(value, "edges", where);
  const Json& counts = require_field(value, "counts", where);
  check_numbers(edges, "edges", where);
  check_numbers(counts, "counts", where);
  if (counts.empty() || (edges.size() != counts.size() && edges.size() != counts.size() + 1))
    fail_input("{}: edges: expected one a count, and one more where the last bin is closed, got {} for {} counts", where, edges.size(),
               counts.size());
  for (std::size_t i = 1; i < edges.size(); ++i)
    if (!(edges[i - 1] < edges[i]))
      fail_input("{}: edges: expected ascending numbers, got {} after {}", where, edges[i].dump(), edges[i - 1].dump());
  return {{"edges", edges}, {"counts", counts}};
}

Json parse_calibration(const Json& value, const std::string& where) {
  if (!value.is_array()) fail_input("{}: expected a list of bins, got {}", where, json_type_name(value));
  Json bins = Json::array();
  for (const Json& bin : value) {
    Json taken = Json::object();
    for (const char* field : {"confidence", "accuracy", "pairs"}) taken[field] = number_field(bin, field, where);
    bins.push_back(std::move(taken));
  }
  return bins;
}

bool has(const Json& object, const char* field) { return object.contains(field) && !object[field].is_null(); }

void take_record(const JsonRow& row, Round& round) {
  const std::string where = row.where();
  round.figures = parse_figures(require_field(row.value, "figures", where), where + ": figures");
  if (has(row.value, "histogram")) round.histogram = parse_histogram(row.value["histogram"], where + ": histogram");
  if (has(row.value, "calibration")) round.calibration = parse_calibration(row.value["calibration"], where + ": calibration");
}

// What the judge said, where the record does not say it.
void take_judge(const std::string& path, Round& round) {
  if (!fs::exists(path)) return;
  const Json figures = parse_figures(load_json(path), path);
  for (const char* name : {"win", "tie", "lose"})
    if (figures.contains(name) && !round.figures.contains(name)) round.figures[name] = figures[name];
}

Samples read_samples(const std::string& path, std::int64_t limit) {
  Samples samples;
  if (limit == 0 || !fs::exists(path)) return samples;
  for_each_row({path}, BadRows::stop, [&](const JsonRow& row) {
    if (samples.total++ < limit) samples.groups.push_back(parse_response_group(row, 1));
  });
  return samples;
}

}  // namespace

bool is_rounds_directory(const std::string& folder) {
  return fs::is_regular_file(in_folder(folder, "rounds.jsonl")) || !round_folders(folder).empty();
}

Json parse_figures(const Json& object, const std::string& where) {
  if (!object.is_object()) fail_input("{}: expected an object of figures, got {}", where, json_type_name(object));
  Json figures = Json::object();
  for (const auto& [name, value] : object.items()) {
    if (value.is_null() || is_interval_end(object, name)) continue;
    figures[name] = parse_figure(value, name, where);
    const std::string low = name + "_low", high = name + "_high";
    if (!has(object, low.c_str()) || !has(object, high.c_str())) continue;
    figures[name]["low"] = number_field(object, low.c_str(), where);
    figures[name]["high"] = number_field(object, high.c_str(), where);
  }
  return figures;
}

RoundsDirectory read_rounds_directory(const std::string& folder, const std::string& name, std::int64_t samples) {
  RoundsDirectory directory{name, read_config(folder), {}, {}};
  std::map<std::int64_t, Round> rounds;
  if (const std::string path = in_folder(folder, "rounds.jsonl"); fs::exists(path))
    for_each_record(path, [&](const JsonRow& row) {
      const std::int64_t number = count_field(row.value, "round", row.where());
      if (rounds.contains(number)) fail_input("{}: round: expected each round once, got {} again", row.where(), number);
      take_record(row, rounds[number]);
    });
  for (const std::int64_t number : round_folders(folder)) rounds.try_emplace(number);
  for (auto& [number, round] : rounds) {
    round.number = number;
    const std::string round_name = fmt::format("{}{}", kRoundPrefix, number), in_round = in_folder(folder, round_name);
    take_judge(in_folder(in_round, "judge.json"), round);
    round.samples = read_samples(in_folder(in_round, "responses.jsonl"), samples);
    for (const char* part : {"rm", "policy"})
      if (const std::string run = in_folder(in_round, part); is_training_run(run))
        directory.runs.push_back(read_training_run(run, fmt::format("{}/{}", round_name, part)));
    directory.rounds.push_back(std::move(round));
  }
  return directory;
}

Json to_json(const RoundsDirectory& directory) {
  Json rounds = Json::array();
  for (const Round& round : directory.rounds) {
    Json groups = Json::array();
    for (const ResponseGroup& group : round.samples.groups) groups.push_back(to_json(group));
    rounds.push_back({{"round", round.number},
                      {"figures", round.figures},
                      {"histogram", round.histogram},
                      {"calibration", round.calibration},
                      {"samples", {{"total", round.samples.total}, {"groups", groups}}}});
  }
  return {{"name", directory.name}, {"command", directory.config.command}, {"settings", to_json(directory.config)}, {"rounds", rounds}};
}

}  // namespace metarm
