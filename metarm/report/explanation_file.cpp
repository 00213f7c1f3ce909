#include "metarm/report/explanation_file.h"

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/report/run_files.h"

namespace metarm {

namespace {

// Beside a pair's attributions: its texts stand in their tokens, and the sides' own in that of the difference.
constexpr const char* kNotShown[] = {"prompt", "chosen", "rejected", "chosen_attribution", "rejected_attribution"};

bool is_explained(const Json& row) {
  return row.is_object() && row.contains("where") && (row.contains("reward_difference") || row.contains("rewards"));
}

std::size_t list_length(const Json& object, const char* field, const std::string& where) {
  const Json& list = require_field(object, field, where);
  if (!list.is_array()) fail_input("{}: {}: expected a list, got {}", where, field, json_type_name(list));
  return list.size();
}

// `tokens` and `values`, one a token.
void check_tokens(const Json& part, const std::string& where) {
  const std::size_t tokens = list_length(part, "tokens", where), values = list_length(part, "values", where);
  if (tokens != values) fail_input("{}: values: expected {} numbers, one a token, got {}", where, tokens, values);
  for (const Json& token : part["tokens"])
    if (!token.is_string()) fail_input("{}: tokens: expected texts, got {}", where, json_type_name(token));
  for (const Json& value : part["values"])
    if (!value.is_number()) fail_input("{}: values: expected numbers, got {}", where, json_type_name(value));
}

void check_row(const Json& row, const std::string& where) {
  if (!is_explained(row)) fail_input("{}: expected a row of `metarm explain`, with where and rewards, got another", where);
  text_field(row, "where", where);
  if (row.contains("difference_attribution"))
    for (const char* part : {"shared", "chosen", "rejected"})
      check_tokens(require_field(row["difference_attribution"], part, where + ": difference_attribution"),
                   fmt::format("{}: difference_attribution: {}", where, part));
  if (row.contains("rewards")) list_length(row, "rewards", where);
  if (!row.contains("attributions")) return;
  list_length(row, "attributions", where);
  for (const Json& attribution : row["attributions"])
    if (!attribution.is_null()) check_tokens(attribution, where + ": attributions");
}

Json shown(Json row) {
  row.erase("compare");
  if (row.contains("difference_attribution"))
    for (const char* field : kNotShown) row.erase(field);
  return row;
}

}  // namespace

bool is_explanation_file(const std::string& path) {
  if (!std::filesystem::is_regular_file(path)) return false;
  bool explained = false;
  for_each_line(path, [&](std::string_view line, std::int64_t number) {
    if (number == 1) explained = is_explained(Json::parse(line, nullptr, false));
  });
  return explained;
}

Json read_explanation_file(const std::string& path, const std::string& name, std::int64_t rows) {
  Json kept = Json::array();
  std::int64_t total = 0;
  for_each_record(path, [&](const JsonRow& row) {
    if (total++ >= rows) return;
    check_row(row.value, row.where());
    kept.push_back(shown(row.value));
  });
  return {{"name", name}, {"total", total}, {"rows", std::move(kept)}};
}

}  // namespace metarm
