#include "metarm/http/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <vector>

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr std::size_t kShownBytes = 40;  // of a wrong value

// What is wrong with a value. The place is put together on the way out, from the innermost step on.
struct Flaw {
  std::string expected, got, place = {};  // place: `.rows[2].prompt`
  std::size_t depth = 0;
};
using MaybeFlaw = std::optional<Flaw>;

// JSON Schema's: 3.0 is one, too. Beyond 2^53 a float says no number exactly.
bool is_whole_number(const Json& value) {
  if (!value.is_number_float()) return value.is_number_integer();
  const double number = value.get<double>();
  return std::trunc(number) == number && std::abs(number) <= 9007199254740992.0;
}

bool has_type(const Json& value, std::string_view type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return is_whole_number(value);
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "array") return value.is_array();
  if (type == "object") return value.is_object();
  return type == "null" && value.is_null();
}

std::string type_words(std::string_view type) {
  if (type == "string") return "text";
  if (type == "integer") return "a whole number";
  if (type == "number") return "a number";
  if (type == "boolean") return "true or false";
  if (type == "array") return "a list";
  if (type == "object") return "an object";
  return "null";
}

std::string join(const std::vector<std::string>& words, std::string_view last) {
  std::string text;
  for (std::size_t i = 0; i < words.size(); ++i) text += (i == 0 ? "" : i + 1 == words.size() ? std::string(last) : ", ") + words[i];
  return text;
}

std::vector<std::string> types_of(const Json& schema) {
  const Json& type = schema["type"];
  return type.is_array() ? type.get<std::vector<std::string>>() : std::vector{type.get<std::string>()};
}

bool has_required(const Json& value, const Json& schema) {
  const Json names = schema.value("required", Json::array());
  return std::all_of(names.begin(), names.end(), [&](const Json& name) { return value.contains(name.get_ref<const std::string&>()); });
}

}  // namespace

struct JsonSchemas::Checker {
  const JsonSchemas& schemas;

  MaybeFlaw check(const Json& value, const Json& unresolved) const {
    const Json& schema = schemas.resolve(unresolved);
    if (schema.contains("anyOf")) return check_any(value, schema["anyOf"]);
    if (schema.contains("type")) {
      const std::vector<std::string> types = types_of(schema);
      if (std::ranges::none_of(types, [&](const std::string& type) { return has_type(value, type); })) {
        std::vector<std::string> words;
        for (const std::string& type : types) words.push_back(type_words(type));
        return Flaw{join(words, " or "), std::string(json_type_name(value))};
      }
    }
    if (schema.contains("enum")) {
      std::vector<std::string> words;
      for (const Json& allowed : schema["enum"]) {
        if (allowed == value) return {};
        words.push_back(allowed.dump());
      }
      return Flaw{join(words, " or "), shown(value)};
    }
    if (value.is_number()) return check_number(value, schema);
    if (value.is_array()) return check_list(value, schema);
    if (value.is_object()) return check_object(value, schema);
    return {};
  }

 private:
  static std::string shown(const Json& value) {
    const std::string text = value.dump(-1, ' ', true);
    return text.size() > kShownBytes ? text.substr(0, kShownBytes) + "..." : text;
  }

  static Flaw inside(const std::string& step, Flaw flaw) {
    flaw.place = step + flaw.place;
    ++flaw.depth;
    return flaw;
  }

  static MaybeFlaw check_number(const Json& value, const Json& schema) {
    const double number = value.get<double>();
    if (schema.contains("minimum") && number < schema["minimum"].get<double>())
      return Flaw{fmt::format("at least {}", schema["minimum"].dump()), shown(value)};
    if (schema.contains("maximum") && number > schema["maximum"].get<double>())
      return Flaw{fmt::format("at most {}", schema["maximum"].dump()), shown(value)};
    return {};
  }

  MaybeFlaw check_list(const Json& value, const Json& schema) const {
    const std::size_t min = schema.value("minItems", std::size_t{0}), max = schema.value("maxItems", value.size());
    if (value.size() < min) return Flaw{fmt::format("at least {} in the list", min), fmt::format("{}", value.size())};
    if (value.size() > max) return Flaw{fmt::format("at most {} in the list", max), fmt::format("{}", value.size())};
    if (!schema.contains("items")) return {};
    for (std::size_t i = 0; i < value.size(); ++i)
      if (MaybeFlaw found = check(value[i], schema["items"])) return inside(fmt::format("[{}]", i), *found);
    return {};
  }

  MaybeFlaw check_object(const Json& value, const Json& schema) const {
    for (const Json& name : schema.value("required", Json::array()))
      if (!value.contains(name.get_ref<const std::string&>()))
        return inside(fmt::format(".{}", name.get<std::string>()), {"a value", "no such field"});
    const bool closed = !schema.value("additionalProperties", true);
    const Json properties = schema.value("properties", Json::object());
    for (const auto& [name, inner] : value.items()) {
      if (properties.contains(name)) {
        if (MaybeFlaw found = check(inner, properties[name])) return inside(fmt::format(".{}", name), *found);
      } else if (closed) {
        std::vector<std::string> known;
        for (const auto& [field, unused] : properties.items()) known.push_back(field);
        return Flaw{fmt::format("the fields {}", join(known, " and ")), shown(name)};
      }
    }
    return {};
  }

  // Objects are judged by the alternatives whose required fields they have; other values by the one that they come nearest to.
  MaybeFlaw check_any(const Json& value, const Json& alternatives) const {
    std::vector<std::string> expected, fields;
    MaybeFlaw deepest;
    for (const Json& unresolved : alternatives) {
      const Json& alternative = schemas.resolve(unresolved);
      if (value.is_object() && !has_required(value, alternative)) {
        fields.push_back(join(alternative["required"].get<std::vector<std::string>>(), " with "));
        continue;
      }
      MaybeFlaw found = check(value, alternative);
      if (!found) return {};
      if (std::ranges::find(expected, found->expected) == expected.end()) expected.push_back(found->expected);
      if (!deepest || found->depth > deepest->depth) deepest = found;
    }
    if (!deepest) return Flaw{join(fields, ", or "), "an object without"};
    if (deepest->depth == 0) deepest->expected = join(expected, " or ");
    return deepest;
  }
};

JsonSchemas::JsonSchemas(Json document) : document_(std::move(document)) {
  for (const auto& [name, schema] : document_.at("components").at("schemas").items()) check_keywords(schema, name);
}

const Json& JsonSchemas::resolve(const Json& schema) const {
  if (!schema.contains("$ref")) return schema;
  const std::string reference = schema["$ref"].get<std::string>();
  return resolve(document_.at(Json::json_pointer(reference.substr(1))));  // after the #
}

void JsonSchemas::check_keywords(const Json& schema, const std::string& where) const {
  static const std::set<std::string> kKnown = {
      "$ref", "type",    "properties", "required", "additionalProperties", "items",   "minItems", "maxItems", "anyOf",
      "enum", "minimum", "maximum",    "title",    "description",          "default", "examples"};
  for (const auto& [keyword, value] : schema.items())
    if (!kKnown.contains(keyword)) fail_internal("{}: expected a keyword that is checked, got {}", where, keyword);
  resolve(schema);
  for (const Json& alternative : schema.value("anyOf", Json::array())) check_keywords(alternative, where + " anyOf");
  if (schema.contains("items")) check_keywords(schema["items"], where + " items");
  const Json properties = schema.value("properties", Json::object());
  for (const auto& [name, property] : properties.items()) check_keywords(property, fmt::format("{}.{}", where, name));
}

void JsonSchemas::check(const Json& value, const Json& schema) const {
  const MaybeFlaw flaw = Checker{*this}.check(value, schema);
  if (!flaw) return;
  const std::string place = flaw->place.starts_with('.') ? flaw->place.substr(1) : "body" + flaw->place;
  fail_input("{}: expected {}, got {}", place, flaw->expected, flaw->got);
}

}  // namespace metarm
