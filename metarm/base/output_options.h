// What every command is told about its output.
#pragma once

#include "metarm/base/options.h"

namespace metarm {

struct OutputOptions {
  bool json = false;
  bool quiet = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.json, {.name = "json", .help = "One JSON object on stdout; people's output goes to stderr."});
    visit(self.quiet, {.name = "quiet", .help = "Warnings and results only."});
  }
};

}  // namespace metarm
