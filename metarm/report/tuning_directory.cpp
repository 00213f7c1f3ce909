#include "metarm/report/tuning_directory.h"

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/report/run_files.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

std::string file_in(const std::string& folder, const char* name) { return (fs::path(folder) / name).string(); }

void check_list(const Json& object, const char* field, const std::string& where) {
  const Json& list = require_field(object, field, where);
  if (!list.is_array()) fail_input("{}: {}: expected a list, got {}", where, field, json_type_name(list));
}

void check_trial(const Json& trial, const std::string& where) {
  count_field(trial, "trial", where);
  count_field(trial, "rank", where);
  check_list(trial, "rungs", where);
  for (const Json& rung : trial["rungs"]) count_field(rung, "steps", where + ": rungs");
  const Json& options = require_field(trial, "options", where);
  if (!options.is_object()) fail_input("{}: options: expected an object, got {}", where, json_type_name(options));
}

void check_tuning(const Json& tuning, const std::string& where) {
  text_field(tuning, "figure", where);
  text_field(tuning, "goal", where);
  check_trial(require_field(tuning, "best", where), where + ": best");
  for (const char* field : {"rungs", "sensitivity"}) check_list(tuning, field, where);
  for (const Json& option : tuning["sensitivity"]) {
    text_field(option, "option", where + ": sensitivity");
    text_field(option, "kind", where + ": sensitivity");
  }
}

}  // namespace

bool is_tuning_directory(const std::string& folder) {
  return fs::is_regular_file(file_in(folder, "tuning.json")) && fs::is_regular_file(file_in(folder, "trials.jsonl"));
}

Json read_tuning_directory(const std::string& folder, const std::string& name) {
  const Json tuning = load_json(file_in(folder, "tuning.json"));
  check_tuning(tuning, file_in(folder, "tuning.json"));
  Json trials = Json::array();
  for_each_record(file_in(folder, "trials.jsonl"), [&](const JsonRow& row) {
    check_trial(row.value, row.where());
    trials.push_back(row.value);
  });
  return {{"name", name}, {"tuning", tuning}, {"trials", trials}};
}

}  // namespace metarm
