// The rounds of RLHF: in each, the stages that the config file lists, one after another: sample from the policy, align the reward model,
// optimise the policy against it, measure. Any stage may be left out, repeated, or replaced by a program of the user's own.
//
//   D/config.toml              the config file
//   D/round-1/NAME             what a stage left: a folder or NAME.jsonl
//   D/round-1/NAME.done.json   {"options", "figures", "seconds"} of a finished stage
//   D/rounds.jsonl             {"round", "figures": {"stage.figure": number}} of each finished round, whichever call's
//   D/rounds.lock              locked by the rounds that run, by their stages' programs, and by what these have started
//
// A stage runs in a process of its own. Killed anywhere, the same command goes on: finished stages are passed over, a training goes on from
// its last checkpoint. What a killed stage has started may live on: until it has ended, the same command is an input error that names it.
// So is a stage whose options have changed since, but for those that change no result (quiet, json, threads) or that it was not told.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/base/output_options.h"
#include "metarm/rounds/stage.h"

namespace metarm {

struct RoundsOptions {
  static constexpr const char* kTables = "stage";  // the config file's [[stage]]

  std::string output, policy, rm;
  std::int64_t rounds = 3;
  std::int64_t seed = 0;
  std::string launcher;
  OutputOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.output, {.name = "output", .help = "The folder of all rounds; one that exists is gone on with.", .required = true});
    visit(self.policy, {.name = "policy", .help = "The initial policy: {policy} and {initial_policy} in stages."});
    visit(self.rm, {.name = "rm", .help = "The initial reward model: {rm} and {initial_rm} in stages."});
    visit(self.rounds, {.name = "rounds", .help = "How many rounds. [paper T]", .min = 1});
    visit(self.seed, {.name = "seed", .help = "Seed of the first round's stages; each later round has the next number.", .min = 0});
    visit(self.launcher, {.name = "launcher", .help = "Words before each metarm command, such as \"mpirun -n 2\"."});
    OutputOptions::fields(self.common, visit);
  }
};

// Runs what is not yet done; returns the rows of rounds.jsonl. `program`: the metarm that runs the commands.
std::vector<Json> run_rounds(const RoundsOptions& options, const Parsed& parsed, const StageCommands& commands, const std::string& program,
                             Log& log);

}  // namespace metarm
