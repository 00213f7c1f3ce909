// JSON lines: reading rows with their file and line for errors, and checked access to the fields of a JSON object.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace metarm {

class Log;
using Json = nlohmann::json;

bool is_valid_utf8(std::string_view text);

// Parses one JSON text; an input error names `where` and the byte position. Rejects invalid UTF-8, duplicate keys in an object, nesting
// deeper than 256.
Json parse_json(std::string_view text, const std::string& where);
// A JSON file such as config.json, whole.
Json load_json(const std::string& path);

// One row of a JSON-lines file. `where()` is `file:line`.
struct JsonRow {
  Json value;  // an object
  std::string file;
  std::int64_t line = 0;
  std::string where() const;
};

enum class BadRows { stop, skip };
struct BadRowReport {
  std::int64_t rows = 0;  // read in all
  std::int64_t skipped = 0;
  std::vector<std::string> first_errors;  // at most 5 messages
};

// Calls `row` for each non-blank line of the files in order. An input Error (bad JSON, not an object, or thrown by `row`) stops with
// `file:line: message`, or with BadRows::skip is counted; other errors pass as they are. No row at all in a file: input error `file:
// expected rows, got an empty file`.
BadRowReport for_each_row(const std::vector<std::string>& files, BadRows bad_rows, const std::function<void(const JsonRow&)>& row);
// Warnings of what was left out: nothing where nothing was.
void log_skipped(const BadRowReport& report, Log& log);

// Checked access: an input error `where: field: expected text, got null` when the type is wrong.
const Json& require_field(const Json& object, const char* field, const std::string& where);
std::string text_field(const Json& object, const char* field, const std::string& where);
double number_field(const Json& object, const char* field, const std::string& where);
std::string_view json_type_name(const Json& value);  // text, number, boolean, list, object, null

}  // namespace metarm
