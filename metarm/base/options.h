// Options, declared once. A struct lists its fields through a visitor; flags, TOML files, --help, the resolved config.toml and the
// reference page all come from that list. Defaults are the members' initialisers.
//
//   struct ScoreOptions {
//     std::string model;
//     double temperature = 1.0;
//     template <class Self, class Visitor> static void fields(Self& self, Visitor&& visit) {
//       visit(self.model, {.name = "model", .help = "Reward model: a Hugging Face directory.", .required = true});
//       visit(self.temperature, {.name = "temperature", .help = "...", .min = 0.0, .max = 10.0});
//     }
//   };
//
// Field types: bool, std::int64_t, double, std::string, std::vector<std::string>, and enums with an EnumNames specialisation.
// A nested options struct is listed by calling its own fields(): TrainingOptions::fields(self.training, visit).
// Flags spell names with dashes (`--max-length`), TOML keys with underscores (`max_length`). Booleans: `--shuffle`, `--shuffle true|false`.
// Order: default, config file, flag.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "metarm/base/config_file.h"

namespace metarm {

struct FieldInfo {
  const char* name;  // with dashes
  const char* help;  // one line; cites the paper's, TRL's or OpenRLHF's name where it differs
  bool required = false;
  double min = -std::numeric_limits<double>::infinity();  // for numbers, inclusive
  double max = std::numeric_limits<double>::infinity();
  const char* needs = nullptr;  // name of another option; where that is 0, false or empty this one has no effect, and giving it is an error
};

// Specialise for an enum: `static constexpr std::pair<E, const char*> values[] = {{E::a, "a"}, ...};`
template <class E>
struct EnumNames;

template <class E>
std::string_view enum_name(E value) {
  for (const auto& [candidate, name] : EnumNames<E>::values)
    if (candidate == value) return name;
  return "?";
}

// A field as the machinery sees it: a typed reference, enums as an index into their names.
struct EnumRef {
  std::vector<std::string> names;
  int index;
};
using FieldValue = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>, EnumRef>;
struct Field {
  FieldInfo info;
  FieldValue value;
};

// What a parse did: which options were given at all (by flag or file), and whether --help was asked for.
struct Parsed {
  std::set<std::string> given;
  bool help = false;
  std::string config;               // the file, if one was given
  std::vector<ConfigTable> tables;  // its [[...]], where the options have such
};

// Untyped core: fills `fields` from `--config FILE`, then flags. Input errors: unknown flag or key with "did you mean", wrong type or
// range, missing required option, an option whose `needs` is off. `where` is the command's name. `tables`: the name of [[...]] that the
// file may hold; null: none.
Parsed parse_fields(std::string_view where, std::vector<Field>& fields, std::span<const std::string> arguments,
                    const char* tables = nullptr);
Parsed parse_fields(std::string_view where, std::vector<Field>& fields, const ConfigTable& table);  // the same from a table alone
// Input error where one of `fields`, other than those named `but`, was given beside --`with`: it has no effect there.
void refuse_given(std::string_view where, const Parsed& parsed, const std::vector<Field>& fields, const std::set<std::string>& but,
                  std::string_view with);
std::string help_text(std::string_view command, std::string_view summary, const std::vector<Field>& fields);
std::string to_toml(const std::vector<Field>& fields);  // numbers round-trip
std::string to_markdown(std::string_view command, std::string_view summary, const std::vector<Field>& fields);

namespace detail {
template <class T>
FieldValue to_field_value(const T& value) {
  if constexpr (std::is_enum_v<T>) {
    EnumRef ref{{}, 0};
    for (const auto& [candidate, name] : EnumNames<T>::values) {
      if (candidate == value) ref.index = static_cast<int>(ref.names.size());
      ref.names.emplace_back(name);
    }
    return ref;
  } else {
    return value;
  }
}
template <class T>
void from_field_value(T& value, const FieldValue& field) {
  if constexpr (std::is_enum_v<T>)
    value = EnumNames<T>::values[std::get<EnumRef>(field).index].first;
  else
    value = std::get<T>(field);
}
}  // namespace detail

template <class Options>
std::vector<Field> list_fields(const Options& options) {
  std::vector<Field> fields;
  Options::fields(options, [&](const auto& value, const FieldInfo& info) { fields.push_back({info, detail::to_field_value(value)}); });
  return fields;
}

// Options::kTables, where there is one, names the [[...]] of its file.
template <class Options>
Parsed parse_options(std::string_view command, Options& options, std::span<const std::string> arguments) {
  std::vector<Field> fields = list_fields(options);
  const char* tables = nullptr;
  if constexpr (requires { Options::kTables; }) tables = Options::kTables;
  Parsed parsed = parse_fields(command, fields, arguments, tables);
  std::size_t index = 0;
  Options::fields(options, [&](auto& value, const FieldInfo&) { detail::from_field_value(value, fields[index++].value); });
  return parsed;
}

}  // namespace metarm
