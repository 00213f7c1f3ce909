// A command of the program: its name, its options, what it runs. One file a command; main.cpp lists them.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "metarm/base/log.h"
#include "metarm/base/options.h"

namespace metarm {

struct Command {
  const char* name;
  const char* summary;
  int (*run)(const Command& command, std::span<const std::string> arguments);  // returns the exit code
  std::string (*reference)(const Command& command);                            // its page in docs/reference
};

void print_out(const std::string& text);  // stdout, with a line end; io error when it cannot be written

// `body(options, parsed, log)` with parsed options that hold a CommonOptions member `common`.
template <class Options, void (*body)(const Options&, const Parsed&, Log&)>
constexpr Command make_command(const char* name, const char* summary) {
  return {name, summary,
          [](const Command& command, std::span<const std::string> arguments) {
            Options options;
            const Parsed parsed = parse_options(command.name, options, arguments);
            if (parsed.help) {
              print_out(help_text(command.name, command.summary, list_fields(Options{})));
              return 0;
            }
            const std::unique_ptr<Log> log = make_console_log(options.common.quiet);
            body(options, parsed, *log);
            return 0;
          },
          [](const Command& command) { return to_markdown(command.name, command.summary, list_fields(Options{})); }};
}

Command align_command();
Command convert_command();
Command eval_command();
Command sample_command();
Command score_command();
Command train_command();

}  // namespace metarm
