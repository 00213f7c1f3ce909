// Tuning: trials of a training or of a program, with options drawn from ranges, by successive halving (halving.h).
//
//   D/tuning.toml      the config file
//   D/halving.json     {"min_steps", "eta", "goal"}, with which alone it is gone on with
//   D/journal.jsonl    each trial at each rung as it ended (trial_journal.h)
//   D/trial-1/...      what it left (trial_command.h); of trials that are out, without weights
//   D/trials.jsonl     a row a trial, written when a rung ends (tuning_result.h)
//   D/tuning.json      the rungs, the best trial, the sensitivity of each option
//   D/best.toml        the best trial's options
//
// Killed anywhere, the same command goes on, and ends with what an uninterrupted one ends with; so it does whatever `parallel` is.
#pragma once

#include <string>

#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/rounds/stage.h"
#include "metarm/tune/tune_options.h"
#include "metarm/tune/tuning_result.h"

namespace metarm {

// Runs what is not yet done. `program`: the metarm that runs the commands. Input errors where each trial of the first rung failed, and
// where the folder's tuning began with other options.
TuningResult run_tuning(const TuneOptions& options, const Parsed& parsed, const StageCommands& commands, const std::string& program,
                        Log& log);

}  // namespace metarm
