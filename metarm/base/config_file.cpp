#include "metarm/base/config_file.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <string_view>

#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {

namespace {

std::string_view kind_of(const toml::node& node) { return toml::impl::node_type_friendly_names[static_cast<std::size_t>(node.type())]; }

ConfigValue to_value(const toml::node& node, const std::string& where) {
  if (const auto flag = node.value_exact<bool>()) return *flag;
  if (const auto whole = node.value_exact<std::int64_t>()) return *whole;
  if (const auto real = node.value_exact<double>()) return *real;
  if (auto text = node.value_exact<std::string>()) return *std::move(text);
  if (!node.is_array()) fail_input("{}: expected true, false, a number, text or a list of texts, got {}", where, kind_of(node));
  std::vector<std::string> list;
  for (const toml::node& item : *node.as_array()) {
    auto text = item.value_exact<std::string>();
    if (!text) fail_input("{}: expected a list of texts, got {} in it", where, kind_of(item));
    list.push_back(*std::move(text));
  }
  return list;
}

ConfigEntry to_entry(const toml::key& key, const toml::node& node, const std::string& path) {
  const std::string where = fmt::format("{}:{}: {}", path, key.source().begin.line, key.str());
  return {std::string(key.str()), where, to_value(node, where)};
}

bool is_array_of_tables(const toml::node& node) { return node.is_array_of_tables() && !node.as_array()->empty(); }

ConfigTable to_table(const toml::table& table, const std::string& path) {
  ConfigTable made{fmt::format("{}:{}", path, table.source().begin.line), {}};
  for (const auto& [key, node] : table) made.entries.push_back(to_entry(key, node, path));
  return made;
}

}  // namespace

ConfigFile load_config_file(const std::string& path) {
  const std::string text = read_file(path);
  toml::table table;
  try {
    table = toml::parse(std::string_view(text), std::string_view(path));
  } catch (const toml::parse_error& error) {
    fail_input("{}:{}: expected TOML, got an error: {}", path, error.source().begin.line, error.description());
  }
  ConfigFile file{{path, {}}, {}};
  for (const auto& [key, node] : table) {
    const std::string name(key.str());
    if (node.is_table())  // [name] is the one [[name]]
      file.arrays[name].push_back(to_table(*node.as_table(), path));
    else if (is_array_of_tables(node))
      for (const toml::node& item : *node.as_array()) file.arrays[name].push_back(to_table(*item.as_table(), path));
    else
      file.top.entries.push_back(to_entry(key, node, path));
  }
  return file;
}

}  // namespace metarm
