// metarm COMMAND [--config FILE.toml] [flags]: dispatch, and the one place where exceptions become messages and exit codes.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/cli/command.h"
#include "metarm/cli/interrupts.h"
#include "metarm/cli/launch.h"
#include "metarm/model/torch_errors.h"

// What jemalloc reads when the program starts. A step frees and takes the same gigabytes as the one before: large blocks are kept like all
// others, and what is not used for ten seconds stays mapped until the system wants it. Without, a sixth of a training goes into page
// faults.
extern "C" {
extern const char* malloc_conf;
const char* malloc_conf = "oversize_threshold:0,muzzy_decay_ms:-1";
}

namespace metarm {

void print_out(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fputc('\n', stdout) < 0 || std::fflush(stdout) != 0) fail_io("stdout: could not write");
}

std::vector<Command> list_commands() {
  return {train_command(),    align_command(),   sft_command(),  dpo_command(),     ppo_command(),    sample_command(),
          score_command(),    augment_command(), eval_command(), explain_command(), judge_command(),  merge_command(),
          ensemble_command(), rounds_command(),  tune_command(), serve_command(),   report_command(), convert_command()};
}

namespace {

std::string usage() {
  std::string text = "metarm COMMAND [--config FILE.toml] [flags]; `metarm COMMAND --help` lists a command's flags.\n\n";
  for (const Command& command : list_commands()) text += fmt::format("  {:<9} {}\n", command.name, command.summary);
  return text + "  reference DIR: writes the commands' reference pages";
}

int write_reference(const std::vector<std::string>& arguments) {
  if (arguments.size() != 1) fail_input("reference: expected one directory, got {} arguments", arguments.size());
  std::filesystem::create_directories(arguments[0]);
  for (const Command& command : list_commands())
    write_file((std::filesystem::path(arguments[0]) / fmt::format("{}.md", command.name)).string(),
               to_markdown(command.name, command.summary, command.fields()));
  return 0;
}

int dispatch(const std::vector<std::string>& arguments, Ranks& ranks) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    print_out(usage());
    return arguments.empty() ? exit_code(ErrorKind::input) : 0;
  }
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (arguments[0] == "reference") return write_reference(rest);
  std::string names;
  for (const Command& command : list_commands()) {
    if (arguments[0] == command.name) return command.run(command, rest, ranks);
    names += (names.empty() ? "" : ", ") + std::string(command.name);
  }
  fail_input("metarm: expected a command ({}), got {}", names, arguments[0]);
}

// This process, as one of the ranks once it has joined them.
struct Process {
  Launch launch = read_launch();
  std::unique_ptr<Ranks> ranks = make_single_rank();

  bool speaks() const { return ranks->size() > 1 ? ranks->claim_report() : launch.rank == 0; }
};

// One line, whatever the number of ranks that fail; the one that speaks ends all.
int report(const Process& process, const Error& error) {
  const int code = exit_code(error.kind());
  if (!process.speaks()) {
    std::this_thread::sleep_for(std::chrono::seconds(10));
    return code;
  }
  std::string message = error.what();
  std::ranges::replace(message, '\n', ' ');
  fmt::print(stderr, "metarm: {}{}\n", error.kind() == ErrorKind::internal ? "internal error: " : "", message);
  process.ranks->end_all(code);
  return code;
}

int guarded(const std::vector<std::string>& arguments, Process& process) {
  try {
    return with_torch_errors([&] {
      process.ranks = join_ranks(process.launch);
      return dispatch(arguments, *process.ranks);
    });
  } catch (const Error& error) {
    return report(process, error);
  } catch (const std::filesystem::filesystem_error& error) {
    return report(process, Error(ErrorKind::io, error.what()));
  } catch (const std::exception& error) {
    return report(process, Error(ErrorKind::internal, error.what()));
  }
}

}  // namespace
}  // namespace metarm

int main(int argc, char** argv) {
  metarm::remove_outputs_when_interrupted();
  metarm::Process process;
  return metarm::guarded({argv + 1, argv + argc}, process);
}
