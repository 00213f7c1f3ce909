// What a trial runs, and what came of it: a training of metarm's that goes on from rung to rung by --resume, or a program of the user's
// own.
//
//   D/trial-7/run              what it leaves
//   D/trial-7/steps-12.toml    its options up to step 12, of a metarm command
//   D/trial-7/steps-12.log     what it said meanwhile
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/config_file.h"
#include "metarm/base/json_lines.h"
#include "metarm/rounds/stage.h"
#include "metarm/tune/range.h"
#include "metarm/tune/tune_options.h"

namespace metarm {

struct Trial {
  std::int64_t number = 0;  // from 1
  TrialValues values;       // one a range
};

struct TrialOutcome {
  std::optional<double> figure;
  std::string failure;  // why there is no figure
};

class TrialCommand {
 public:
  // Input errors, with file and line, for what no trial could run. `program`: the metarm that runs commands.
  TrialCommand(const TuneOptions& options, const ConfigFile& file, const StageCommands& commands, std::string program);

  const std::vector<Range>& ranges() const { return ranges_; }

  // The whole of what it is told for its first `steps` steps, as text: equal texts, equal results. Input errors as the command gives them.
  std::string told(const Trial& trial, std::int64_t steps) const;

  // Runs it up to `steps`; absent where it was cancelled. Input errors where the figure is not among those that there are, since no
  // other trial would have it either, and where the command refuses to go on with what the trial left.
  std::optional<TrialOutcome> run(const Trial& trial, std::int64_t steps, std::int64_t slot, const std::function<bool()>& cancelled) const;

  // Of a trial that is out: its weights and checkpoints. Figures and options stay. Nothing of a program's.
  void remove_weights(const Trial& trial) const;

  // The options, as a file that the command takes as it is: the same run, at once and elsewhere. Of a program, its values alone.
  std::string best_toml(const Trial& trial, std::int64_t steps) const;

 private:
  void read_command(const ConfigFile& file, const StageCommands& commands);
  void read_program();
  void check_schedule(const Trial& trial, std::int64_t steps) const;
  std::vector<Field> resolved(const Trial& trial, std::int64_t steps, const std::string& output, bool within_tuning) const;
  std::string filled(const Trial& trial, std::int64_t steps) const;
  std::string folder(const Trial& trial) const;
  std::string output(const Trial& trial) const;
  std::string file(const Trial& trial, std::int64_t steps, const char* ending) const;
  std::vector<std::string> arguments(const Trial& trial, std::int64_t steps, std::int64_t slot) const;
  TrialOutcome read_figure(const Trial& trial, std::int64_t steps, const std::string& printed) const;

  const TuneOptions& options_;
  std::string program_;
  std::string where_, figure_where_, run_where_;  // for errors
  ConfigTable fixed_;
  std::vector<Field> fields_;  // of the command
  std::vector<Range> ranges_;
};

}  // namespace metarm
