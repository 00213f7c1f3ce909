#include "metarm/model/ensemble_config.h"

#include <cmath>
#include <filesystem>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/json_lines.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

std::string config_path(const std::string& directory) { return (fs::path(directory) / "ensemble.json").string(); }

Aggregate parse_aggregate(const Json& json, const std::string& where) {
  const std::string text = text_field(json, "aggregate", where);
  std::string names;
  for (const auto& [aggregate, name] : EnumNames<Aggregate>::values) {
    if (text == name) return aggregate;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  fail_input("{}: aggregate: expected one of {}, got {}", where, names, text);
}

double parse_number(const Json& json, const char* field, double above, const std::string& where) {
  const double number = number_field(json, field, where);
  if (!std::isfinite(number) || number < above) fail_input("{}: {}: expected a number from {}, got {}", where, field, above, number);
  return number;
}

EnsembleConfig::Member parse_member(const Json& json, const std::string& directory, const std::string& where) {
  if (!json.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(json));
  EnsembleConfig::Member member;
  const fs::path named = text_field(json, "directory", where);
  member.directory = fs::weakly_canonical(fs::path(directory) / named).string();  // an absolute path takes the place of all
  if (!fs::is_directory(member.directory))
    fail_input("{}: directory: expected a reward model's folder, got {}, which is none", where, member.directory);
  if (is_ensemble(member.directory)) fail_input("{}: directory: expected one reward model, got an ensemble, {}", where, member.directory);
  if (!json.contains("reward_mean") && !json.contains("reward_deviation")) return member;
  member.mean = number_field(json, "reward_mean", where);
  member.deviation = parse_number(json, "reward_deviation", 1e-30, where);
  return member;
}

// From `directory`, so that both can be moved together.
std::string relative_path(const std::string& member, const std::string& directory) {
  return fs::proximate(fs::weakly_canonical(member), fs::weakly_canonical(directory)).string();
}

void check_distinct(const std::vector<EnsembleConfig::Member>& members, const std::string& where) {
  std::set<fs::path> seen;
  for (const EnsembleConfig::Member& member : members)
    if (!seen.insert(fs::weakly_canonical(member.directory)).second)
      fail_input("{}: expected members that differ, got {} twice", where, member.directory);
}

}  // namespace

bool is_ensemble(const std::string& directory) { return fs::exists(config_path(directory)); }

void refuse_ensemble(const std::string& directory) {
  if (is_ensemble(directory))
    fail_input(
        "{}: expected one model, got an ensemble; score, eval, judge, serve, ppo --rm and sample --best-of take one, and merge makes "
        "one model of several",
        directory);
}

EnsembleConfig load_ensemble_config(const std::string& directory) {
  const std::string where = config_path(directory);
  const Json json = load_json(where);
  if (!json.is_object()) fail_input("{}: expected an object, got {}", where, json_type_name(json));
  EnsembleConfig config;
  config.aggregate = parse_aggregate(json, where);
  if (config.aggregate == Aggregate::uncertainty) config.uncertainty_weight = parse_number(json, "uncertainty_weight", 0, where);
  const Json& members = require_field(json, "members", where);
  if (!members.is_array() || members.size() < 2)
    fail_input("{}: members: expected a list of at least 2, got {}", where,
               members.is_array() ? std::to_string(members.size()) : std::string(json_type_name(members)));
  for (std::size_t i = 0; i < members.size(); ++i)
    config.members.push_back(parse_member(members[i], directory, fmt::format("{}: members[{}]", where, i)));
  check_distinct(config.members, where + ": members");
  return config;
}

void save_ensemble_config(const std::string& directory, const EnsembleConfig& config) {
  check_distinct(config.members, "ensemble");
  Json json = {{"aggregate", enum_name(config.aggregate)}, {"members", Json::array()}};
  if (config.aggregate == Aggregate::uncertainty) json["uncertainty_weight"] = config.uncertainty_weight;
  for (const EnsembleConfig::Member& member : config.members) {
    Json entry = {{"directory", relative_path(member.directory, directory)}};
    if (member.mean != 0 || member.deviation != 1) entry.update({{"reward_mean", member.mean}, {"reward_deviation", member.deviation}});
    json["members"].push_back(std::move(entry));
  }
  write_file(config_path(directory), json.dump(2) + "\n");
}

}  // namespace metarm
