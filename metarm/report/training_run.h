// A training's output folder (docs/run_directory.md) as the report reads it. The run may be unfinished, or killed.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "metarm/report/run_files.h"
#include "metarm/report/series.h"

namespace metarm {

struct TrainingRun {
  std::string name;  // on the page
  Config config;
  bool finished = false;   // holds a finished model or adapter
  std::int64_t steps = 0;  // the last one recorded
  double first_time_s = 0, last_time_s = 0;
  // By key of metrics.jsonl, but for step and time_s. A step's figure that was not finite is absent.
  std::map<std::string, Series> figures;
};

bool is_training_run(const std::string& folder);  // has metrics.jsonl

// Values that are no numbers are passed over. Input error `file:line: ...`: a step that is missing or below the one before. A step may
// have several rows, each with other figures.
TrainingRun read_training_run(const std::string& folder, const std::string& name);

// For the page: `figures` with at most `points` values each, and with `trends`, means of stretches of steps taken from all values, for
// those of at least 40 values that are not held-out figures.
Json to_json(const TrainingRun& run, std::size_t points);

}  // namespace metarm
