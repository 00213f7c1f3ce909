#include <fmt/format.h>

#include <filesystem>
#include <set>
#include <string_view>

#include "metarm/base/json_lines.h"
#include "metarm/cli/command.h"
#include "metarm/rounds/rounds.h"

namespace metarm {

namespace {

// That cannot be a stage: those whose file has tables of its own, and one that never ends.
const std::set<std::string_view> kNoStages = {"rounds", "serve", "tune"};

// Beside folders, commands leave rows, or a page.
std::string output_ending(const std::string& name) {
  if (name == "sample" || name == "score" || name == "judge") return ".jsonl";
  return name == "report" ? ".html" : "";
}

StageCommands stage_commands() {
  StageCommands made;
  for (const Command& command : list_commands())
    if (!kNoStages.contains(command.name)) made.names.emplace_back(command.name);
  made.fields = [](const std::string& name) {
    for (const Command& command : list_commands())
      if (name == command.name) return command.fields();
    fail_internal("rounds: expected a command, got {}", name);
  };
  made.ending = output_ending;
  return made;
}

void run_rounds_command(const RoundsOptions& options, const Parsed& parsed, Log& log) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::vector<Json> rows = run_rounds(options, parsed, stage_commands(), program, log);
  if (options.common.json)
    print_out(Json{{"output", options.output}, {"rounds", rows}}.dump());
  else
    log.result(fmt::format("{} rounds: {}", rows.size(), options.output));
}

}  // namespace

Command rounds_command() {
  return make_command<RoundsOptions, run_rounds_command>("rounds", "the rounds of RLHF: sample, align, optimise, measure, again");
}

}  // namespace metarm
