// The folder of `metarm rounds` (docs/rounds.md) as the report reads it: of each round and stage of its config.toml what the stage's
// command said, the responses that it left, and its training. Rounds and stages that have not finished are there with what they have.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/report/training_run.h"

namespace metarm {

// The first response groups that a stage left, and how many there are.
struct Samples {
  std::string stage, scored_by;  // scored_by: the stage whose rewards they have; empty where they have none
  std::int64_t total = 0;
  std::vector<ResponseGroup> groups;
};

struct StageRecord {
  std::string name, command;  // command: empty of a program of the user's own
  bool finished = false;
  double seconds = 0;
  Json figures = Json::object();  // by name as in rounds.jsonl, `pairs.accuracy`: {"value"} or {"value", "low", "high"}
  Json histogram;                 // {"edges", "counts"} of reward differences, or null
  Json calibration;               // [{"confidence", "accuracy", "pairs"}, ...], or null
  Config config;                  // options; those of a training stand with its run
};

struct Round {
  std::int64_t number = 0;
  std::vector<StageRecord> stages;  // in the order of config.toml
  std::vector<Samples> samples;
};

struct RoundsDirectory {
  std::string name;
  Config config;
  std::vector<Round> rounds;      // by number
  std::vector<TrainingRun> runs;  // named `round-1/rm`
};

bool is_rounds_directory(const std::string& folder);  // has a folder round-N

// Takes up to `samples` response groups of a stage. Input errors name file, line and field.
RoundsDirectory read_rounds_directory(const std::string& folder, const std::string& name, std::int64_t samples);

// The figures of what a command said: numbers, by the names of the objects they are in and their own, with dots between. `name_low` and
// `name_high` beside `name` are its interval, an object {"mean", "standard_error"} is one figure, and lists, texts and null are none.
Json parse_figures(const Json& said);

// For the page, without the runs.
Json to_json(const RoundsDirectory& directory);

}  // namespace metarm
