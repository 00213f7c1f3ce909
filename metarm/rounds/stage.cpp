#include "metarm/rounds/stage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

const std::set<std::string> kReserved = {"policy", "rm", "initial_policy", "initial_rm", "round", "output"};

bool has_field(const std::vector<Field>& fields, std::string_view name) {
  return std::ranges::any_of(fields, [&](const Field& field) { return field.info.name == name; });
}

const ConfigEntry* find_entry(const ConfigTable& table, std::string_view key) {
  const auto found = std::ranges::find(table.entries, key, &ConfigEntry::key);
  return found == table.entries.end() ? nullptr : &*found;
}

// The text of `key`, which the table need not have, taken out of it.
std::string take_text(ConfigTable& table, std::string_view key) {
  const ConfigEntry* entry = find_entry(table, key);
  if (entry == nullptr) return {};
  const auto* text = std::get_if<std::string>(&entry->value);
  if (text == nullptr || text->empty()) fail_input("{}: expected text in quotes", entry->where);
  std::string taken = *text;
  std::erase_if(table.entries, [&](const ConfigEntry& candidate) { return candidate.key == key; });
  return taken;
}

bool is_name(const std::string& text) {
  const auto is_of_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-'; };
  return std::ranges::all_of(text, is_of_name) && text.front() != '-';
}

Stage read_stage(ConfigTable table, const StageCommands& commands) {
  Stage stage;
  stage.where = table.where;
  stage.name = take_text(table, "name");
  stage.command = take_text(table, "command");
  stage.run = take_text(table, "run");
  stage.makes = take_text(table, "makes");
  stage.options = std::move(table);
  if (stage.name.empty()) fail_input("{}: name: expected one for the stage, got none", stage.where);
  if (!is_name(stage.name)) fail_input("{}: name: expected letters, digits, - and _, got '{}'", stage.where, stage.name);
  if (stage.command.empty() == stage.run.empty())
    fail_input("{}: stage {}: expected either command, one of {}, or run, a program's line", stage.where, stage.name,
               fmt::join(commands.names, ", "));
  if (stage.makes.empty() && (stage.name == "policy" || stage.name == "rm")) stage.makes = stage.name;
  if (!stage.makes.empty() && stage.makes != "policy" && stage.makes != "rm")
    fail_input("{}: makes: expected policy or rm, got '{}'", stage.where, stage.makes);
  if (stage.command.empty()) {
    if (!stage.options.entries.empty()) fail_input("{}: expected no options beside run", stage.options.entries.front().where);
    return stage;
  }
  if (std::ranges::find(commands.names, stage.command) == commands.names.end())
    fail_input("{}: command: expected one of {}, got '{}'", stage.where, fmt::join(commands.names, ", "), stage.command);
  stage.fields = commands.fields(stage.command);
  stage.ending = commands.ending(stage.command);
  for (const char* name : {"output", "resume", "json"})
    if (const ConfigEntry* entry = find_entry(stage.options, name)) fail_input("{}: expected none: the rounds choose it", entry->where);
  if (!stage.makes.empty() && !has_field(stage.fields, "output"))
    fail_input("{}: makes: expected a command that leaves a model, got {}", stage.where, stage.command);
  return stage;
}

constexpr std::string_view kOfAll = ":all";

// What `{name:all}` stands for; null: `name` is none of these.
const std::vector<std::string>* find_all(const std::string& name, const Placeholders& known) {
  if (!name.ends_with(kOfAll)) return nullptr;
  const auto found = known.all.find(name.substr(0, name.size() - kOfAll.size()));
  return found == known.all.end() ? nullptr : &found->second;
}

std::string quoted(const std::string& text) {
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

std::string quoted(const std::vector<std::string>& texts) {
  std::vector<std::string> words;
  for (const std::string& text : texts) words.push_back(quoted(text));
  return fmt::format("{}", fmt::join(words, " "));
}

[[noreturn]] void fail_unknown(const std::string& name, const Placeholders& known, const std::string& where) {
  std::vector<std::string> names;
  for (const auto& [key, unused] : known.values) names.push_back("{" + key + "}");
  for (const auto& [key, unused] : known.all) names.push_back("{" + key + std::string(kOfAll) + "}");
  fail_input("{}: expected one of {}, got {{{}}}", where, fmt::join(names, ", "), name);
}

// What is filled in for an option that is a number, such as `round = "{round}"`, is one.
ConfigValue as_option(const std::vector<Field>& fields, std::string key, std::string filled) {
  std::ranges::replace(key, '_', '-');
  const bool is_number = std::ranges::any_of(
      fields, [&](const Field& field) { return field.info.name == key && std::holds_alternative<std::int64_t>(field.value); });
  std::int64_t number = 0;
  const char* const end = filled.data() + filled.size();
  if (is_number && std::from_chars(filled.data(), end, number).ptr == end && !filled.empty()) return number;
  return filled;
}

// A list whose texts are filled in; {name:all} becomes several.
std::vector<std::string> fill_in(const std::vector<std::string>& texts, const Placeholders& known, const std::string& where) {
  std::vector<std::string> filled;
  for (const std::string& text : texts) {
    const bool is_name = text.size() > 2 && text.front() == '{' && text.back() == '}';
    if (const auto* all = is_name ? find_all(text.substr(1, text.size() - 2), known) : nullptr)
      filled.insert(filled.end(), all->begin(), all->end());
    else
      filled.push_back(fill_in(text, known, where));
  }
  return filled;
}

}  // namespace

std::string fill_in(const std::string& text, const Placeholders& known, const std::string& where, bool quote) {
  std::string filled;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      filled += text[++i];
      continue;
    }
    if (c == '}') fail_input("{}: expected {{name}}, got a brace that nothing opens; a brace itself is written twice", where);
    if (c != '{') {
      filled += c;
      continue;
    }
    const std::size_t end = text.find('}', i);
    if (end == text.npos) fail_input("{}: expected {{name}}, got a brace that nothing closes; a brace itself is written twice", where);
    const std::string name = text.substr(i + 1, end - i - 1);
    i = end;
    if (const std::vector<std::string>* all = find_all(name, known)) {
      if (!quote) fail_input("{}: expected {{{}}}, which stands for several, alone in a list, got '{}'", where, name, text);
      filled += quoted(*all);
      continue;
    }
    const auto value = known.values.find(name);
    if (value == known.values.end()) fail_unknown(name, known, where);
    filled += quote ? quoted(value->second) : value->second;
  }
  return filled;
}

std::vector<Field> resolve_options(const Stage& stage, const Placeholders& known, std::int64_t seed, bool quiet) {
  ConfigTable table = stage.options;
  for (ConfigEntry& entry : table.entries) {
    if (const auto* text = std::get_if<std::string>(&entry.value))
      entry.value = as_option(stage.fields, entry.key, fill_in(*text, known, entry.where));
    if (auto* list = std::get_if<std::vector<std::string>>(&entry.value)) *list = fill_in(*list, known, entry.where);
  }
  const auto add = [&](const char* name, ConfigValue value) {
    if (has_field(stage.fields, name) && find_entry(table, name) == nullptr)
      table.entries.push_back({name, fmt::format("{}: {}", stage.where, name), std::move(value)});
  };
  add("output", known.values.at("output"));
  add("seed", seed);
  add("resume", true);
  add("json", true);
  add("quiet", quiet);
  std::vector<Field> fields = stage.fields;
  parse_fields(fmt::format("{}: stage {}", stage.where, stage.name), fields, table);
  return fields;
}

std::string output_name(const Stage& stage) { return stage.name + stage.ending; }

bool is_resumable(const Stage& stage) { return has_field(stage.fields, "resume"); }

std::vector<Stage> read_stages(const std::vector<ConfigTable>& tables, const StageCommands& commands) {
  std::vector<Stage> stages;
  for (const ConfigTable& table : tables) {
    stages.push_back(read_stage(table, commands));
    const Stage& stage = stages.back();
    const auto has_its_name = [&](const Stage& other) { return other.name == stage.name; };
    if (std::count_if(stages.begin(), stages.end(), has_its_name) > 1)
      fail_input("{}: name: expected another one, got '{}' a second time", stage.where, stage.name);
    if (kReserved.contains(stage.name) && stage.name != stage.makes)
      fail_input("{}: name: expected a name other than {}, got '{}'", stage.where, fmt::join(kReserved, ", "), stage.name);
  }
  return stages;
}

}  // namespace metarm
