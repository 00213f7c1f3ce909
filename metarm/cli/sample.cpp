#include <fmt/format.h>

#include "metarm/base/json_lines.h"
#include "metarm/cli/api_key.h"
#include "metarm/cli/command.h"
#include "metarm/model/sampling.h"
#include "metarm/remote/sampling.h"

namespace metarm {

namespace {

// A policy is a checkpoint here, or stands behind a server.
struct SampleCommandOptions : SampleOptions {
  ServerOptions server;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    SampleOptions::fields(self, visit);
    ServerOptions::fields(self.server, visit);
  }
};

SampleSummary sample_by_server(const SampleCommandOptions& options, const Parsed& parsed, const Ranks& ranks, Log& log) {
  std::set<std::string> heeded = {"seed", "json", "quiet"};
  for (const Field& field : list_fields<SampleRequest>(options)) heeded.insert(field.info.name);
  refuse_given("sample", parsed, list_fields<SampleOptions>(options), heeded, "server");
  if (ranks.size() > 1) fail_input("sample: --server: expected one process, got {} ranks; --concurrency does it", ranks.size());
  return sample_from_server(options, make_server(options.server, read_api_key(options.server.api_key_env)),
                            static_cast<std::uint64_t>(options.common.seed), log);
}

void run_sample(const SampleCommandOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  const bool by_server = !options.server.server.empty();
  if (!by_server && options.model.empty()) fail_input("sample: expected --model or --server, got neither");
  if (options.best_of > 0 && parsed.given.contains("responses"))
    fail_input("sample: --responses: expected it without --best-of, which says how many are drawn, got both; it has no effect so");
  const SampleSummary summary = by_server ? sample_by_server(options, parsed, ranks, log) : sample_responses(options, ranks, log);
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

Command sample_command() { return make_command<SampleCommandOptions, run_sample>("sample", "samples k responses a prompt from a policy"); }

}  // namespace metarm
