#include "metarm/tune/tune.h"

#include <filesystem>

#include "metarm/cli/command.h"

namespace metarm {

namespace {

StageCommands trainings() {
  StageCommands made;
  for (const Command& command : list_commands())
    if (std::string_view(command.name) != "tune") made.names.emplace_back(command.name);
  made.fields = [](const std::string& name) {
    for (const Command& command : list_commands())
      if (name == command.name) return command.fields();
    fail_internal("tune: expected a command, got {}", name);
  };
  made.ending = [](const std::string&) { return std::string(); };
  return made;
}

void run_tune(const TuneOptions& options, const Parsed& parsed, Log& log) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const TuningResult result = run_tuning(options, parsed, trainings(), program, log);
  log.result(to_text(result));
  if (options.common.json) print_out(to_json(result).dump());
}

}  // namespace

Command tune_command() { return make_command<TuneOptions, run_tune>("tune", "tunes options by successive halving"); }

}  // namespace metarm
