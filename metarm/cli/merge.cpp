#include "metarm/model/merge.h"

#include <fmt/format.h>

#include "metarm/base/json_lines.h"
#include "metarm/cli/command.h"

namespace metarm {

namespace {

void run_merge(const MergeOptions& options, const Parsed&, Log& log) {
  merge_reward_models(options, log);
  if (options.common.json)
    print_out(Json{{"output", options.output}}.dump());
  else
    log.result(fmt::format("wrote {}", options.output));
}

}  // namespace

Command merge_command() { return make_command<MergeOptions, run_merge>("merge", "averages reward models' weights"); }

}  // namespace metarm
