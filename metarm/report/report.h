// Run directories to one HTML page.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/options.h"

namespace metarm {

struct ReportOptions {
  std::vector<std::string> runs;
  std::string output = "report.html";
  std::int64_t samples = 100;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.runs,
          {.name = "runs",
           .help = "Run directories: of trainings, of rounds with all that is in them, or of tunings; and files of `metarm explain`. Those "
                   "that come first need no flag: `metarm report D E`.",
           .required = true});
    visit(self.output, {.name = "output", .help = "The page, one file that needs no other."});
    visit(self.samples, {.name = "samples",
                         .help = "Response groups of a round, and rows of an explanation, on the page at most, the file's first; 0: none.",
                         .min = 0});
  }
};

struct ReportSummary {
  std::int64_t runs = 0, rounds = 0, tunings = 0, explanations = 0, response_groups = 0;  // on the page
  std::int64_t bytes = 0;
};

// Input error where a folder is no run directory, a file no explanation, or either is named twice.
ReportSummary write_report(const ReportOptions& options);

}  // namespace metarm
