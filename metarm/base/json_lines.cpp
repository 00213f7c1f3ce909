#include "metarm/base/json_lines.h"

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/log.h"

namespace metarm {
namespace {

constexpr std::size_t kMaxDepth = 256;
constexpr std::size_t kShownErrors = 5;

// Length of the well-formed UTF-8 sequence at the start of `text` (no overlong forms, surrogates or code points past U+10FFFF); 0 if there
// is none.
std::size_t utf8_sequence(std::string_view text) {
  const auto at = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto follows = [&](std::size_t i) { return (at(i) & 0xc0) == 0x80; };
  const unsigned lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return follows(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool shortest = lead != 0xe0 || at(1) >= 0xa0;
    const bool surrogate = lead == 0xed && at(1) >= 0xa0;
    return follows(1) && follows(2) && shortest && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool in_range = (lead != 0xf0 || at(1) >= 0x90) && (lead != 0xf4 || at(1) < 0x90);
    return follows(1) && follows(2) && follows(3) && in_range ? 4 : 0;
  }
  return 0;
}

std::size_t first_invalid_utf8(std::string_view text) {  // text.size() when all is well
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t length = utf8_sequence(text.substr(i));
    if (length == 0) return i;
    i += length;
  }
  return i;
}

// Builds the value as nlohmann's own parser does, but sees duplicate keys and depth.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const std::string& where) : where_(where) {}
  Json take() { return std::move(root_); }

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(std::int64_t value) override { return put(value); }
  bool number_unsigned(std::uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string&) override { return put(value); }
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Json::object()); }
  bool start_array(std::size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }

  bool key(std::string& name) override {
    auto [entry, inserted] = stack_.back()->get_ref<Json::object_t&>().try_emplace(name);
    if (!inserted) fail_input("{}: expected each key once, got \"{}\" twice", where_, name);
    slot_ = &entry->second;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception& error) override {
    std::string_view reason = error.what();
    if (const auto start = reason.find("syntax error "); start != reason.npos) reason.remove_prefix(start + 13);
    reason = reason.substr(0, reason.find("; last read"));  // it may be long, and end inside a character
    fail_input("{}: expected JSON, got an error at byte {} {}", where_, position, reason);
  }

 private:
  Json* place(Json&& value) {
    if (stack_.empty()) return &(root_ = std::move(value));
    if (stack_.back()->is_array()) return &stack_.back()->emplace_back(std::move(value));
    return &(*slot_ = std::move(value));
  }
  bool put(Json&& value) {
    place(std::move(value));
    return true;
  }
  bool open(Json&& value) {
    if (stack_.size() == kMaxDepth) fail_input("{}: expected at most {} nested lists and objects, got more", where_, kMaxDepth);
    stack_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    stack_.pop_back();
    return true;
  }

  const std::string& where_;
  Json root_;
  std::vector<Json*> stack_;  // open containers; a parent does not grow while its child is open
  Json* slot_ = nullptr;
};

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == line.npos; }

JsonRow parse_row(std::string_view line, const std::string& file, std::int64_t number) {
  JsonRow row{{}, file, number};
  row.value = parse_json(line, row.where());
  if (!row.value.is_object()) fail_input("{}: expected an object, got {}", row.where(), json_type_name(row.value));
  return row;
}

}  // namespace

bool is_valid_utf8(std::string_view text) { return first_invalid_utf8(text) == text.size(); }

Json parse_json(std::string_view text, const std::string& where) {
  if (const std::size_t bad = first_invalid_utf8(text); bad < text.size())
    fail_input("{}: expected UTF-8, got 0x{:02x} at byte {}", where, static_cast<unsigned char>(text[bad]), bad + 1);
  Builder builder(where);
  Json::sax_parse(text, &builder);
  return builder.take();
}

Json load_json(const std::string& path) { return parse_json(read_file(path), path); }

std::string JsonRow::where() const { return fmt::format("{}:{}", file, line); }

BadRowReport for_each_row(const std::vector<std::string>& files, BadRows bad_rows, const std::function<void(const JsonRow&)>& row) {
  BadRowReport report;
  for (const std::string& file : files) {
    const std::int64_t rows_before = report.rows;
    for_each_line(file, [&](std::string_view line, std::int64_t number) {
      if (is_blank(line)) return;
      ++report.rows;
      try {
        row(parse_row(line, file, number));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::input) throw;  // a disk that is full is not the row's fault
        const std::string where = fmt::format("{}:{}: ", file, number);
        const std::string message = std::string_view(error.what()).starts_with(where) ? error.what() : where + error.what();
        if (bad_rows == BadRows::stop) throw Error(error.kind(), message);
        ++report.skipped;
        if (report.first_errors.size() < kShownErrors) report.first_errors.push_back(message);
      }
    });
    if (report.rows == rows_before) fail_input("{}: expected rows, got an empty file", file);
  }
  if (report.rows > 0 && report.skipped == report.rows)
    fail_input("{}; expected a good row, got {} bad ones", report.first_errors.front(), report.skipped);
  return report;
}

void log_skipped(const BadRowReport& report, Log& log) {
  if (report.skipped == 0) return;
  log.warn(fmt::format("{} of {} rows were malformed and left out", report.skipped, report.rows));
  for (const std::string& error : report.first_errors) log.warn("left out: " + error);
}

const Json& require_field(const Json& object, const char* field, const std::string& where) {
  if (!object.is_object()) fail_input("{}: expected an object with {}, got {}", where, field, json_type_name(object));
  const auto found = object.find(field);
  if (found == object.end()) fail_input("{}: {}: expected a value, got no such field", where, field);
  return *found;
}

std::string text_field(const Json& object, const char* field, const std::string& where) {
  const Json& value = require_field(object, field, where);
  if (!value.is_string()) fail_input("{}: {}: expected text, got {}", where, field, json_type_name(value));
  return value.get<std::string>();
}

double number_field(const Json& object, const char* field, const std::string& where) {
  const Json& value = require_field(object, field, where);
  if (!value.is_number()) fail_input("{}: {}: expected a number, got {}", where, field, json_type_name(value));
  return value.get<double>();
}

std::string_view json_type_name(const Json& value) {
  if (value.is_string()) return "text";
  if (value.is_number()) return "number";
  if (value.is_boolean()) return "boolean";
  if (value.is_array()) return "list";
  if (value.is_object()) return "object";
  return "null";
}

}  // namespace metarm
