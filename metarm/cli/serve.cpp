#include "metarm/serve/serve.h"

#include <fmt/format.h>

#include "metarm/cli/command.h"
#include "metarm/cli/interrupts.h"

namespace metarm {

namespace {

void run_serve(const ServeOptions& options, const Parsed&, Log& log) {
  serve(options, log, [&](const Json& state, std::function<void()> stop) {
    stop_when_interrupted(std::move(stop));
    if (options.common.json)
      print_out(state.dump());
    else
      log.result(fmt::format("serving {} at {}",
                             state["models"].size() == 1 ? "one reward model" : fmt::format("{} reward models", state["models"].size()),
                             state["url"].get<std::string>()));
  });
}

}  // namespace

Command serve_command() { return make_command<ServeOptions, run_serve>("serve", "rewards over HTTP, in the protocols of RLHF trainers"); }

}  // namespace metarm
