// The folder of `metarm tune` (docs/methods/tune.md) as the report reads it, once its first rung has ended.
#pragma once

#include <string>

#include "metarm/base/json_lines.h"

namespace metarm {

bool is_tuning_directory(const std::string& folder);  // has tuning.json and trials.jsonl

// For the page: {"name", "tuning": what tuning.json says, "trials": [a row of trials.jsonl, ...]}. Input error for files without what the
// page shows.
Json read_tuning_directory(const std::string& folder, const std::string& name);

}  // namespace metarm
