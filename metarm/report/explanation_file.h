// A file of `metarm explain` (docs/methods/explain.md) as the report reads it.
#pragma once

#include <cstdint>
#include <string>

#include "metarm/base/json_lines.h"

namespace metarm {

bool is_explanation_file(const std::string& path);  // its first row has `where` and rewards

// For the page: {"name", "total": rows of the file, "rows": the first `rows` of them, with what is shown}. Input error for rows without
// that.
Json read_explanation_file(const std::string& path, const std::string& name, std::int64_t rows);

}  // namespace metarm
