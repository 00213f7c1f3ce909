// A stage of a round, as the config file tells it: a metarm command with its options, or a program of the user's own.
//
//   [[stage]]
//   name = "rm"                      what other stages call it: {rm}
//   command = "align"                a metarm command; the other keys are its options
//   model = "{rm}"
//   responses = ["{responses}"]
//
//   [[stage]]
//   name = "policy"
//   run = "python ppo.py --policy {policy} --rm {rm} --output {output}"
//
// Placeholders: {policy} and {rm}, the newest; {initial_policy} and {initial_rm}; {round}; {output}, where the stage leaves what it makes;
// each earlier stage of the round by its name; and {NAME:all}, alone in a list or anywhere in `run`: what that stage left in each round so
// far. A stage called policy or rm, or with `makes = "policy"` or "rm", makes the next one.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "metarm/base/config_file.h"
#include "metarm/base/options.h"

namespace metarm {

// What metarm itself can run, from its caller.
struct StageCommands {
  std::vector<std::string> names;
  std::function<std::vector<Field>(const std::string& name)> fields;
  std::function<std::string(const std::string& name)> ending;  // of the name of what it leaves: .jsonl of rows, none of a folder
};

struct Stage {
  std::string name;
  std::string where;    // file:line
  std::string command;  // empty: `run` is given
  std::string run;      // for the shell
  std::string makes;    // policy, rm, or nothing
  std::string ending;   // of what the command leaves
  ConfigTable options;  // of the command, before placeholders are filled in
  std::vector<Field> fields;
};

// Input errors for a stage that could not be run whatever comes before it.
std::vector<Stage> read_stages(const std::vector<ConfigTable>& tables, const StageCommands& commands);

struct Placeholders {
  std::map<std::string, std::string> values;
  std::map<std::string, std::vector<std::string>> all;  // of {name:all}, oldest first
};

// Fills in `{name}`; input error `where` for a name that is not there. `{{` and `}}` stand for braces. With `quote`, values are words of a
// shell's line; without, {name:all} is an input error.
std::string fill_in(const std::string& text, const Placeholders& known, const std::string& where, bool quote = false);

// The stage's command with its placeholders filled in and, where the command has such options, output, seed, resume, json and quiet added.
// Input errors as the command itself gives them.
std::vector<Field> resolve_options(const Stage& stage, const Placeholders& known, std::int64_t seed, bool quiet);

// What the stage leaves, beside the stages before it: a folder, a file, or nothing.
std::string output_name(const Stage& stage);

// Whether its command goes on with what it left when it was killed, as trainings do.
bool is_resumable(const Stage& stage);

}  // namespace metarm
