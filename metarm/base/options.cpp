#include "metarm/base/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <sstream>

#include "metarm/base/error.h"
#include "metarm/base/json_lines.h"

namespace metarm {
namespace {

std::string key_of(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

bool same_value(const FieldValue& a, const FieldValue& b) {
  if (const auto* ref = std::get_if<EnumRef>(&a)) return ref->index == std::get<EnumRef>(b).index;
  return std::visit(
      [&](const auto& value) {
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, EnumRef>)
          return false;
        else
          return value == std::get<T>(b);
      },
      a);
}

// 0, false and nothing switch an option off.
bool is_on(const FieldValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag;
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return *whole != 0;
  if (const auto* real = std::get_if<double>(&value)) return *real != 0;
  if (const auto* text = std::get_if<std::string>(&value)) return !text->empty();
  if (const auto* list = std::get_if<std::vector<std::string>>(&value)) return !list->empty();
  return true;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row.back();
}

std::string did_you_mean(std::string_view given, const std::vector<std::string>& known, std::string_view otherwise) {
  std::size_t best = std::max<std::size_t>(2, given.size() / 3) + 1;
  std::string name;
  for (const std::string& candidate : known) {
    const std::size_t distance = edit_distance(given, candidate);
    if (distance < best) best = distance, name = candidate;
  }
  return name.empty() ? std::string(otherwise) : fmt::format("did you mean {}?", name);
}

// One place where options come from: flags (`train: --lr`) or a file (`run.toml:3: lr`). `where` names the option in errors.
void check_range(const Field& field, double value, const std::string& where, std::string_view given) {
  const bool in_range = std::isfinite(value) && value >= field.info.min && value <= field.info.max;
  if (in_range) return;
  if (std::isinf(field.info.min) && std::isinf(field.info.max)) fail_input("{}: expected a finite number, got {}", where, given);
  if (std::isinf(field.info.max)) fail_input("{}: expected at least {}, got {}", where, field.info.min, given);
  if (std::isinf(field.info.min)) fail_input("{}: expected at most {}, got {}", where, field.info.max, given);
  fail_input("{}: expected a number from {} to {}, got {}", where, field.info.min, field.info.max, given);
}

template <class Number>
Number parse_number(const std::string& text, const std::string& where) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size())
    fail_input("{}: expected a {}number, got '{}'", where, std::is_integral_v<Number> ? "whole " : "", text);
  return value;
}

int enum_index(const EnumRef& ref, const std::string& text, const std::string& where) {
  const auto found = std::find(ref.names.begin(), ref.names.end(), text);
  if (found == ref.names.end()) fail_input("{}: expected one of {}, got '{}'", where, fmt::join(ref.names, ", "), text);
  return static_cast<int>(found - ref.names.begin());
}

// Sets `field` from the words after its flag.
void set_from_words(Field& field, const std::vector<std::string>& words, const std::string& where) {
  for (const std::string& word : words)
    if (!is_valid_utf8(word)) fail_input("{}: expected UTF-8, got other bytes", where);
  if (auto* list = std::get_if<std::vector<std::string>>(&field.value)) {
    list->insert(list->end(), words.begin(), words.end());
    return;
  }
  const std::string& word = words.front();
  if (auto* flag = std::get_if<bool>(&field.value)) {
    if (word != "true" && word != "false") fail_input("{}: expected true or false, got '{}'", where, word);
    *flag = word == "true";
  } else if (auto* whole = std::get_if<std::int64_t>(&field.value)) {
    *whole = parse_number<std::int64_t>(word, where);
    check_range(field, static_cast<double>(*whole), where, word);
  } else if (auto* real = std::get_if<double>(&field.value)) {
    *real = parse_number<double>(word, where);
    check_range(field, *real, where, word);
  } else if (auto* ref = std::get_if<EnumRef>(&field.value)) {
    ref->index = enum_index(*ref, word, where);
  } else {
    field.value = word;
  }
}

const char* kind_of(const ConfigValue& value) {
  constexpr const char* kinds[] = {"true or false", "a whole number", "a number", "text", "a list of texts"};
  return kinds[value.index()];
}

template <class T>
const T& value_as(const ConfigEntry& entry, std::string_view expected) {
  const T* value = std::get_if<T>(&entry.value);
  if (value == nullptr) fail_input("{}: expected {}, got {}", entry.where, expected, kind_of(entry.value));
  return *value;
}

// The value that a file's entry gives to `field`.
FieldValue from_config(const Field& field, const ConfigEntry& entry) {
  if (std::holds_alternative<bool>(field.value)) return value_as<bool>(entry, "true or false");
  if (std::holds_alternative<std::int64_t>(field.value)) return value_as<std::int64_t>(entry, "a whole number");
  if (std::holds_alternative<double>(field.value)) {
    const auto* whole = std::get_if<std::int64_t>(&entry.value);
    return whole != nullptr ? static_cast<double>(*whole) : value_as<double>(entry, "a number");
  }
  if (std::holds_alternative<std::string>(field.value)) return value_as<std::string>(entry, "text in quotes");
  if (const auto* ref = std::get_if<EnumRef>(&field.value)) {
    EnumRef chosen = *ref;
    chosen.index = enum_index(*ref, value_as<std::string>(entry, "text in quotes"), entry.where);
    return chosen;
  }
  return value_as<std::vector<std::string>>(entry, "a list of texts, [\"a\", \"b\"]");
}

class Parser {
 public:
  Parser(std::string_view where, std::vector<Field>& fields, const char* tables) : where_(where), fields_(fields), tables_name_(tables) {}

  Parsed run(std::span<const std::string> arguments) {
    if (std::any_of(arguments.begin(), arguments.end(), [](const std::string& a) { return a == "--help" || a == "-h"; }))
      return {{}, true, {}, {}};
    split(arguments);
    if (const auto config = flags_.extract("config")) read_config(config.mapped().front());
    for (auto& [name, words] : flags_) {
      Field& field = *find(name);
      if (auto* list = std::get_if<std::vector<std::string>>(&field.value)) list->clear();
      set_from_words(field, words, fmt::format("{}: --{}", where_, name));
      parsed_.given.insert(name);
    }
    return finish();
  }

  Parsed run(const ConfigTable& table) {
    take(table);
    return finish();
  }

 private:
  Field* find(std::string_view name) {
    const auto found = std::find_if(fields_.begin(), fields_.end(), [&](const Field& field) { return name == field.info.name; });
    return found == fields_.end() ? nullptr : &*found;
  }

  [[noreturn]] void fail_unknown_flag(const std::string& name) {
    std::vector<std::string> known{"--config", "--help"};
    for (const Field& field : fields_) known.push_back(fmt::format("--{}", field.info.name));
    fail_input("{}: expected a known flag, got --{}; {}", where_, name,
               did_you_mean("--" + name, known, fmt::format("'metarm {} --help' lists them", where_)));
  }

  // Arguments to flags_: each flag's words, unread. A word that starts with two dashes is the next flag; '-1' is a value.
  void split(std::span<const std::string> arguments) {
    for (std::size_t i = 0; i < arguments.size();) {
      const std::string& argument = arguments[i++];
      if (!argument.starts_with("--")) fail_input("{}: expected a flag such as --config, got '{}'", where_, argument);
      const std::size_t equals = argument.find('=');
      const std::string name = argument.substr(2, equals == argument.npos ? equals : equals - 2);
      const Field* field = find(name);
      if (!field && name != "config") fail_unknown_flag(name);
      const bool is_list = field && std::holds_alternative<std::vector<std::string>>(field->value);
      const bool is_bool = field && std::holds_alternative<bool>(field->value);
      if (flags_.contains(name) && !is_list) fail_input("{}: --{}: expected once, got it twice", where_, name);
      std::vector<std::string>& words = flags_[name];
      if (equals != argument.npos) {
        words.push_back(argument.substr(equals + 1));
        continue;
      }
      const std::size_t first = i;
      const auto is_value = [&] { return i < arguments.size() && !arguments[i].starts_with("--"); };
      if (is_bool)
        words.push_back(is_value() ? arguments[i++] : "true");
      else
        while (is_value() && (is_list || i == first)) words.push_back(arguments[i++]);
      if (words.empty() || (is_list && i == first))
        fail_input("{}: --{}: expected a value, got none; one that starts with -- is written --{}=VALUE", where_, name, name);
    }
  }

  void read_config(const std::string& path) {
    const ConfigFile file = load_config_file(path);
    std::vector<std::string> known;
    std::istringstream names(tables_name_ != nullptr ? tables_name_ : "");
    for (std::string name; names >> name;) known.push_back(name);
    for (const auto& [name, tables] : file.arrays) {
      if (std::find(known.begin(), known.end(), name) == known.end())
        fail_input("{}: expected options{}, got [[{}]]", tables.front().where,
                   known.empty() ? " alone" : fmt::format(" and [[{}]]", fmt::join(known, "]], [[")), name);
      parsed_.tables.insert(parsed_.tables.end(), tables.begin(), tables.end());
    }
    parsed_.config = path;
    take(file.top);
  }

  void take(const ConfigTable& table) {
    std::vector<std::string> known;
    for (const Field& field : fields_) known.push_back(key_of(field.info.name));
    for (const ConfigEntry& entry : table.entries) {
      const auto found = std::find(known.begin(), known.end(), entry.key);
      if (found == known.end())
        fail_input("{}: expected a known option, got {}; {}", entry.where, entry.key,
                   did_you_mean(entry.key, known, fmt::format("'metarm {} --help' lists them", where_)));
      set_from_entry(fields_[static_cast<std::size_t>(found - known.begin())], entry);
    }
  }

  // A key that repeats the default counts as not given: a resolved config lists every option, and must be accepted again.
  void set_from_entry(Field& field, const ConfigEntry& entry) {
    FieldValue value = from_config(field, entry);
    if (same_value(value, field.value)) return;
    if (const auto* whole = std::get_if<std::int64_t>(&value))
      check_range(field, static_cast<double>(*whole), entry.where, fmt::to_string(*whole));
    if (const auto* real = std::get_if<double>(&value)) check_range(field, *real, entry.where, fmt::to_string(*real));
    field.value = std::move(value);
    parsed_.given.insert(field.info.name);
  }

  Parsed finish() {
    check_presence();
    return std::move(parsed_);
  }

  void check_presence() {
    for (const Field& field : fields_) {
      if (field.info.required && !parsed_.given.contains(field.info.name))
        fail_input("{}: --{}: expected a value, got none; {}", where_, field.info.name, field.info.help);
      if (field.info.needs && parsed_.given.contains(field.info.name) && !is_on(find(field.info.needs)->value))
        fail_input("{}: --{}: expected --{} with it, got it alone; it has no effect so", where_, field.info.name, field.info.needs);
    }
  }

  std::string where_;
  std::vector<Field>& fields_;
  std::map<std::string, std::vector<std::string>> flags_;
  const char* tables_name_;
  Parsed parsed_;
};

}  // namespace

Parsed parse_fields(std::string_view where, std::vector<Field>& fields, std::span<const std::string> arguments, const char* tables) {
  return Parser(where, fields, tables).run(arguments);
}

Parsed parse_fields(std::string_view where, std::vector<Field>& fields, const ConfigTable& table) {
  return Parser(where, fields, nullptr).run(table);
}

void refuse_given(std::string_view where, const Parsed& parsed, const std::vector<Field>& fields, const std::set<std::string>& but,
                  std::string_view with) {
  for (const Field& field : fields)
    if (parsed.given.contains(field.info.name) && !but.contains(field.info.name))
      fail_input("{}: --{}: expected it without --{}, got both; it has no effect there", where, field.info.name, with);
}

}  // namespace metarm
