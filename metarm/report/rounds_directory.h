// The folder of an iterative run: what each round came to, the responses that its policy gave, its reward model's and its policy's
// training. docs/report.md describes the files. Rounds that have not finished are there with what they have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/report/training_run.h"

namespace metarm {

// The first response groups of a file, and how many it has.
struct Samples {
  std::int64_t total = 0;
  std::vector<ResponseGroup> groups;
};

struct Round {
  std::int64_t number = 0;
  Json figures = Json::object();  // by name: {"value"} or {"value", "low", "high"}
  Json histogram;                 // {"edges", "counts"} of reward differences, or null
  Json calibration;               // [{"confidence", "accuracy", "pairs"}, ...], or null
  Samples samples;
};

struct RoundsDirectory {
  std::string name;
  Config config;
  std::vector<Round> rounds;      // by number
  std::vector<TrainingRun> runs;  // named `round-1/rm`
};

bool is_rounds_directory(const std::string& folder);  // has rounds.jsonl or a folder round-N

// Takes up to `samples` response groups a round. Input errors name file, line and field.
RoundsDirectory read_rounds_directory(const std::string& folder, const std::string& name, std::int64_t samples);

// The figures among an object's fields: a number, or {"value", "low", "high"}; `name_low` and `name_high` beside `name` are its interval.
// Null is no figure.
Json parse_figures(const Json& object, const std::string& where);

// For the page, without the runs.
Json to_json(const RoundsDirectory& directory);

}  // namespace metarm
