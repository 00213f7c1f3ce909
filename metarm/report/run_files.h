// What the files of a run directory say: its resolved options, and figures that a killed run may have left with a torn last line.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"

namespace metarm {

struct Setting {
  std::string key, value;  // a value as TOML has it, but for texts, which are without quotes; a key in a table is `table.key`, of [[stage]]
                           // `stage.NAME.key`
};

struct Config {
  std::string command;            // of the first line, `# metarm train`; empty where it has none
  std::vector<Setting> settings;  // by key
};
// Of a TOML file such as config.toml; empty where there is none. Input error: no TOML.
Config read_config(const std::string& path);
Json to_json(const Config& config);  // [[key, value], ...]

// Calls `row` for each line of a JSON-lines file, less a last one that is no JSON, as a process leaves it that is killed while it writes.
// Unlike for_each_row, a file may be empty. Input errors: no JSON elsewhere, no object.
void for_each_record(const std::string& path, const std::function<void(const JsonRow&)>& row);

// A whole number of at least 0 in a row, as steps and rounds are; input error otherwise.
std::int64_t count_field(const Json& object, const char* field, const std::string& where);

}  // namespace metarm
