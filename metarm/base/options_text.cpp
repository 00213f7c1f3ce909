// What options.h prints: help, resolved config, reference page.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "metarm/base/options.h"

namespace metarm {
namespace {

std::string number_text(double value) {  // shortest text that reads back as the same number
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

std::string toml_text(const std::string& text) {  // JSON's escapes are TOML's
  return nlohmann::json(text).dump();
}

struct TomlValue {
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return fmt::to_string(value); }
  std::string operator()(double value) const {
    const std::string text = number_text(value);
    return text.find_first_not_of("-0123456789") == text.npos ? text + ".0" : text;
  }
  std::string operator()(const std::string& value) const { return toml_text(value); }
  std::string operator()(const std::vector<std::string>& value) const {
    std::vector<std::string> items;
    for (const std::string& item : value) items.push_back(toml_text(item));
    return fmt::format("[{}]", fmt::join(items, ", "));
  }
  std::string operator()(const EnumRef& ref) const { return toml_text(ref.names.at(static_cast<std::size_t>(ref.index))); }
};

struct KindText {  // what follows the flag
  std::string operator()(bool) const { return "[true|false]"; }
  std::string operator()(std::int64_t) const { return "N"; }
  std::string operator()(double) const { return "NUMBER"; }
  std::string operator()(const std::string&) const { return "TEXT"; }
  std::string operator()(const std::vector<std::string>&) const { return "TEXT..."; }
  std::string operator()(const EnumRef& ref) const { return fmt::to_string(fmt::join(ref.names, "|")); }
};

struct DefaultText {  // empty: nothing worth saying
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(std::int64_t value) const { return fmt::to_string(value); }
  std::string operator()(double value) const { return number_text(value); }
  std::string operator()(const std::string& value) const { return value; }
  std::string operator()(const std::vector<std::string>& value) const { return fmt::to_string(fmt::join(value, " ")); }
  std::string operator()(const EnumRef& ref) const { return ref.names.at(static_cast<std::size_t>(ref.index)); }
};

std::string range_text(const FieldInfo& info) {
  if (std::isinf(info.min) && std::isinf(info.max)) return "";
  if (std::isinf(info.max)) return fmt::format("at least {}", number_text(info.min));
  if (std::isinf(info.min)) return fmt::format("at most {}", number_text(info.max));
  return fmt::format("{} to {}", number_text(info.min), number_text(info.max));
}

std::string constraints_text(const FieldInfo& info) {  // "required; at least 1; needs --pairs"
  std::vector<std::string> parts;
  if (info.required) parts.emplace_back("required");
  if (const std::string range = range_text(info); !range.empty()) parts.push_back(range);
  if (info.needs) parts.push_back(fmt::format("needs --{}", info.needs));
  return fmt::to_string(fmt::join(parts, "; "));
}

std::string escape_cell(std::string text) {
  for (std::size_t at = 0; (at = text.find('|', at)) != text.npos; at += 2) text.insert(at, 1, '\\');
  return text;
}

}  // namespace

std::string help_text(std::string_view command, std::string_view summary, const std::vector<Field>& fields) {
  std::string text = fmt::format("Usage: metarm {} [--config FILE.toml] [flags]\n\n{}\n\n", command, summary);
  text += "  --config FILE.toml\n      Options from a file, names with underscores; flags win.\n";
  for (const Field& field : fields) {
    std::string notes = constraints_text(field.info);
    const std::string standard = std::visit(DefaultText{}, field.value);
    if (!field.info.required && !standard.empty()) notes += fmt::format("{}default {}", notes.empty() ? "" : "; ", standard);
    text += fmt::format("  --{} {}\n      {}{}\n", field.info.name, std::visit(KindText{}, field.value), field.info.help,
                        notes.empty() ? "" : fmt::format(" ({})", notes));
  }
  return text;
}

std::string to_toml(const std::vector<Field>& fields) {
  std::string text;
  for (const Field& field : fields) {
    std::string key = field.info.name;
    std::replace(key.begin(), key.end(), '-', '_');
    text += fmt::format("{} = {}\n", key, std::visit(TomlValue{}, field.value));
  }
  return text;
}

std::string to_markdown(std::string_view command, std::string_view summary, const std::vector<Field>& fields) {
  std::string text =
      fmt::format("# metarm {}\n\n{}\n\n| option | value | default | meaning |\n| --- | --- | --- | --- |\n", command, summary);
  for (const Field& field : fields) {
    const std::string standard = std::visit(DefaultText{}, field.value), constraints = constraints_text(field.info);
    text += fmt::format("| `--{}` | {} | {} | {}{} |\n", field.info.name, escape_cell(std::visit(KindText{}, field.value)),
                        standard.empty() || field.info.required ? "" : fmt::format("`{}`", escape_cell(standard)),
                        escape_cell(field.info.help), constraints.empty() ? "" : fmt::format(" ({})", constraints));
  }
  return text;
}

}  // namespace metarm
