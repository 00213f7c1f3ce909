#include "metarm/report/run_files.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <filesystem>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>

#include "metarm/base/error.h"
#include "metarm/base/file.h"

namespace metarm {

namespace {

constexpr std::string_view kCommandLine = "# metarm ";

std::string value_text(const toml::node& node) {
  if (const auto text = node.value_exact<std::string>()) return *text;
  if (const auto real = node.value_exact<double>()) return fmt::format("{}", *real);
  if (const toml::array* list = node.as_array()) {
    std::string text;
    for (const toml::node& item : *list) text += (text.empty() ? "" : ", ") + value_text(item);
    return text;
  }
  std::ostringstream text;
  node.visit([&](const auto& value) { text << value; });
  return text.str();
}

void append_settings(const toml::table& table, const std::string& prefix, std::vector<Setting>& settings) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table())
      append_settings(*inner, name + ".", settings);
    else if (node.is_array_of_tables())
      for (const toml::node& item : *node.as_array())
        append_settings(*item.as_table(), fmt::format("{}.{}.", name, (*item.as_table())["name"].value_or(std::string())), settings);
    else
      settings.push_back({name, value_text(node)});
  }
}

}  // namespace

Config read_config(const std::string& path) {
  if (!std::filesystem::exists(path)) return {};
  const std::string text = read_file(path);
  Config config;
  if (text.starts_with(kCommandLine)) config.command = text.substr(kCommandLine.size(), text.find('\n') - kCommandLine.size());
  try {
    append_settings(toml::parse(std::string_view(text), std::string_view(path)), "", config.settings);
  } catch (const toml::parse_error& error) {
    fail_input("{}:{}: expected TOML, got an error: {}", path, error.source().begin.line, error.description());
  }
  return config;
}

Json to_json(const Config& config) {
  Json list = Json::array();
  for (const Setting& setting : config.settings) list.push_back({setting.key, setting.value});
  return list;
}

void for_each_record(const std::string& path, const std::function<void(const JsonRow&)>& row) {
  std::optional<Error> torn;
  for_each_line(path, [&](std::string_view line, std::int64_t number) {
    if (line.find_first_not_of(" \t") == line.npos) return;
    if (torn) throw *torn;
    JsonRow record{{}, path, number};
    try {
      record.value = parse_json(line, record.where());
    } catch (const Error& error) {
      torn = error;
      return;
    }
    if (!record.value.is_object()) fail_input("{}: expected an object, got {}", record.where(), json_type_name(record.value));
    row(record);
  });
}

std::int64_t count_field(const Json& object, const char* field, const std::string& where) {
  const Json& value = require_field(object, field, where);
  if (!value.is_number_integer() || value < 0 || value > std::numeric_limits<std::int64_t>::max())
    fail_input("{}: {}: expected a whole number of at least 0, got {}", where, field,
               value.is_number() ? value.dump() : std::string(json_type_name(value)));
  return value.get<std::int64_t>();
}

}  // namespace metarm
