// What `metarm explain` does: which tokens rewards and reward differences come from, what changed between two reward models, which training
// pairs pull, and where responses lie. docs/methods/explain.md has the formulas.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "metarm/base/json_lines.h"
#include "metarm/base/log.h"
#include "metarm/explain/explain_options.h"

namespace metarm {

// How far attributions are from adding up, as shares of what they should add up to.
struct ErrorSummary {
  std::int64_t count = 0;
  double median = 0, largest = 0;
};

struct ChangeSummary {
  std::int64_t differences = 0;  // reward differences within rows, of all rows
  std::int64_t flips = 0;        // of them, ordered the other way round by --compare
  double mean = 0;               // over rows with two responses at least: the size of the change that the rows are sorted by
};

struct ExplainSummary {
  std::int64_t pairs = 0, groups = 0;  // written
  std::int64_t skipped = 0;            // malformed rows
  ErrorSummary reward_errors, difference_errors;
  std::int64_t above_tolerance = 0;  // of both
  std::optional<ChangeSummary> change;
  std::optional<std::array<double, 2>> explained_variance;
  std::int64_t train_pairs = 0;
  double seconds = 0;
};

// Writes options.output, which appears whole or not at all. Input error for options that do not go together; `parsed` says which were
// given.
ExplainSummary explain(const ExplainOptions& options, const Parsed& parsed, Log& log);

Json to_json(const ExplainSummary& summary);
std::string to_text(const ExplainSummary& summary);

}  // namespace metarm
