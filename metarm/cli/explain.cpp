#include "metarm/explain/explain.h"

#include "metarm/cli/command.h"

namespace metarm {

namespace {

void run_explain(const ExplainOptions& options, const Parsed& parsed, Log& log) {
  const ExplainSummary summary = explain(options, parsed, log);
  print_out(options.common.json ? to_json(summary).dump() : to_text(summary));
}

}  // namespace

Command explain_command() {
  return make_command<ExplainOptions, run_explain>("explain", "which tokens, training pairs and changes of a model rewards come from");
}

}  // namespace metarm
