#include <fmt/format.h>

#include "metarm/base/json_lines.h"
#include "metarm/cli/command.h"
#include "metarm/model/sampling.h"

namespace metarm {

namespace {

void run_sample(const SampleOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  if (options.best_of > 0 && parsed.given.contains("responses"))
    fail_input("sample: --responses: expected it without --best-of, which says how many are drawn, got both; it has no effect so");
  const SampleSummary summary = sample_responses(options, ranks, log);
  if (options.common.json)
    print_out(Json{{"prompts", summary.prompts},
                   {"responses", summary.responses},
                   {"tokens", summary.tokens},
                   {"ended", summary.ended},
                   {"seconds", summary.seconds},
                   {"skipped", summary.skipped},
                   {"output", options.output}}
                  .dump());
  else
    log.result(fmt::format("{} responses to {} prompts, {} tokens in {:.1f} s, {:.0f} % ended by themselves: {}", summary.responses,
                           summary.prompts, summary.tokens, summary.seconds,
                           100.0 * static_cast<double>(summary.ended) / static_cast<double>(summary.responses), options.output));
}

}  // namespace

Command sample_command() { return make_command<SampleOptions, run_sample>("sample", "samples k responses a prompt from a policy"); }

}  // namespace metarm
