#include "metarm/report/report.h"

#include <fmt/format.h>

#include "metarm/base/json_lines.h"
#include "metarm/cli/command.h"
#include "metarm/model/common_options.h"

namespace metarm {

namespace {

struct ReportCommandOptions {
  ReportOptions report;
  OutputOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    ReportOptions::fields(self.report, visit);
    OutputOptions::fields(self.common, visit);
  }
};

void run_report(const ReportCommandOptions& options, const Parsed&, Log& log) {
  const ReportSummary summary = write_report(options.report);
  if (options.common.json)
    print_out(Json{{"runs", summary.runs},
                   {"rounds", summary.rounds},
                   {"tunings", summary.tunings},
                   {"explanations", summary.explanations},
                   {"response_groups", summary.response_groups},
                   {"bytes", summary.bytes},
                   {"output", options.report.output}}
                  .dump());
  else
    log.result(fmt::format("a page of {} runs, {} rounds, {} tunings and {} explanations, {:.1f} MB: {}", summary.runs, summary.rounds,
                           summary.tunings, summary.explanations, static_cast<double>(summary.bytes) / 1e6, options.report.output));
}

Command flags_command() {
  return make_command<ReportCommandOptions, run_report>("report", "one HTML page of curves, rounds and samples for run directories");
}

}  // namespace

Command report_command() {
  Command command = flags_command();
  command.run = [](const Command& self, std::span<const std::string> arguments, Ranks& ranks) {
    std::vector<std::string> flags(arguments.begin(), arguments.end());
    if (!flags.empty() && !flags.front().starts_with('-')) flags.insert(flags.begin(), "--runs");  // `metarm report D E`
    return flags_command().run(self, flags, ranks);
  };
  return command;
}

}  // namespace metarm
