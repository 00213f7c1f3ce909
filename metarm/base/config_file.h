// A TOML file of options: its top level, and tables of one name, such as [[stage]].
//
// Values are what options take: true or false, whole numbers, numbers, texts, lists of texts. Each keeps where it stands, for errors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace metarm {

using ConfigValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

struct ConfigEntry {
  std::string key;    // with underscores
  std::string where;  // file:line: key
  ConfigValue value;
};

struct ConfigTable {
  std::string where;  // file:line of its heading; the file of the top level
  std::vector<ConfigEntry> entries;
};

struct ConfigFile {
  ConfigTable top;
  std::map<std::string, std::vector<ConfigTable>> arrays;  // by name; in the file's order
};

// Input error for what is no TOML, and for a value or a table that no option takes.
ConfigFile load_config_file(const std::string& path);

}  // namespace metarm
