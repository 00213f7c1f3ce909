// What a tuning has found, as rows for programs and as tables for people. Nothing in it depends on time.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/tune/sensitivity.h"
#include "metarm/tune/trial_command.h"

namespace metarm {

struct TrialRecord {
  Trial trial;
  std::vector<TrialOutcome> rungs;  // of those that it was in
  std::int64_t rank = 0;            // from 1: by the last rung at which it has a figure, then by the figure
};

// Counted from 0; none where it failed in the first.
std::optional<std::size_t> last_good_rung(const TrialRecord& record);

// The trials with the least third of an option's values, those with the middle third and those with the greatest; of choices, of each.
struct Level {
  ConfigValue from, to;  // equal of a choice
  std::int64_t trials = 0, failed = 0;
  double median = 0;  // of those that did not fail; NaN where all did
};

struct OptionSensitivity {
  std::string option;
  bool is_number = true;
  Sensitivity sensitivity;
  std::vector<Level> levels;
};

struct TuningResult {
  std::string output, figure;
  Goal goal = Goal::maximise;
  std::vector<Rung> rungs;  // as planned
  std::vector<Range> ranges;
  std::vector<TrialRecord> trials;             // by number
  std::vector<OptionSensitivity> sensitivity;  // by share, greatest first; empty with fewer than three trials

  const TrialRecord& best() const;
};

// Fills in ranks.
void rank_trials(TuningResult& result);
// Fills in `sensitivity`, from the first rung.
void measure_sensitivity(TuningResult& result, std::uint64_t seed);

// {"trial", "rank", "options", "rungs": [{"steps", "figure" or "failure"}]}
Json trial_row(const TuningResult& result, const TrialRecord& record);
Json to_json(const TuningResult& result);
std::string to_text(const TuningResult& result);

// "27 trials to 4 steps, 9 to 12, 3 to 36: 252 steps in all"
std::string plan_text(const std::vector<Rung>& rungs);

}  // namespace metarm
