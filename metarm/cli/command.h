// A command of the program: its name, its options, what it runs. One file a command; main.cpp lists them.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/base/ranks.h"

namespace metarm {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Command& command, std::span<const std::string> arguments, Ranks& ranks);  // returns the exit code
  std::vector<Field> (*fields)();                                                            // its options, with their defaults
};

void print_out(const std::string& text);  // stdout, with a line end; io error when it cannot be written

// `body(options, parsed, log)`, or `body(options, parsed, ranks, log)` where the ranks divide the work, with parsed options that hold a
// CommonOptions member `common`. The first rank alone speaks.
template <class Options, auto body>
constexpr Command make_command(const char* name, const char* summary) {
  return {name, summary,
          [](const Command& command, std::span<const std::string> arguments, Ranks& ranks) {
            Options options;
            const Parsed parsed = parse_options(command.name, options, arguments);
            if (parsed.help) {
              print_out(help_text(command.name, command.summary, command.fields()));
              return 0;
            }
            const std::unique_ptr<Log> log = ranks.first() ? make_console_log(options.common.quiet) : make_null_log();
            if constexpr (std::is_invocable_v<decltype(body), const Options&, const Parsed&, Ranks&, Log&>) {
              body(options, parsed, ranks, *log);
            } else {
              if (ranks.size() > 1) fail_input("{}: expected one process, got {} ranks, which cannot share it", command.name, ranks.size());
              body(options, parsed, *log);
            }
            return 0;
          },
          [] { return list_fields(Options{}); }};
}

std::vector<Command> list_commands();

Command align_command();
Command augment_command();
Command convert_command();
Command dpo_command();
Command ensemble_command();
Command eval_command();
Command explain_command();
Command judge_command();
Command merge_command();
Command report_command();
Command rounds_command();
Command ppo_command();
Command sample_command();
Command score_command();
Command serve_command();
Command sft_command();
Command train_command();
Command tune_command();

}  // namespace metarm
