// metarm COMMAND [--config FILE.toml] [flags]: dispatch, and the one place where exceptions become messages and exit codes.
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <string>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/cli/command.h"
#include "metarm/cli/interrupts.h"

namespace metarm {

void print_out(const std::string& text) {
  if (std::fputs(text.c_str(), stdout) < 0 || std::fputc('\n', stdout) < 0 || std::fflush(stdout) != 0) fail_io("stdout: could not write");
}

namespace {

std::vector<Command> list_commands() {
  return {train_command(), align_command(), sample_command(), score_command(), eval_command(), convert_command()};
}

std::string usage() {
  std::string text = "metarm COMMAND [--config FILE.toml] [flags]; `metarm COMMAND --help` lists a command's flags.\n\n";
  for (const Command& command : list_commands()) text += fmt::format("  {:<9} {}\n", command.name, command.summary);
  return text + "  reference DIR: writes the commands' reference pages";
}

int write_reference(const std::vector<std::string>& arguments) {
  if (arguments.size() != 1) fail_input("reference: expected one directory, got {} arguments", arguments.size());
  std::filesystem::create_directories(arguments[0]);
  for (const Command& command : list_commands())
    write_file((std::filesystem::path(arguments[0]) / fmt::format("{}.md", command.name)).string(), command.reference(command));
  return 0;
}

int dispatch(const std::vector<std::string>& arguments) {
  if (arguments.empty() || arguments[0] == "--help" || arguments[0] == "-h" || arguments[0] == "help") {
    print_out(usage());
    return arguments.empty() ? exit_code(ErrorKind::input) : 0;
  }
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  if (arguments[0] == "reference") return write_reference(rest);
  std::string names;
  for (const Command& command : list_commands()) {
    if (arguments[0] == command.name) return command.run(command, rest);
    names += (names.empty() ? "" : ", ") + std::string(command.name);
  }
  fail_input("metarm: expected a command ({}), got {}", names, arguments[0]);
}

int report(ErrorKind kind, std::string message) {
  std::ranges::replace(message, '\n', ' ');
  fmt::print(stderr, "metarm: {}{}\n", kind == ErrorKind::internal ? "internal error: " : "", message);
  return exit_code(kind);
}

int guarded(const std::vector<std::string>& arguments) {
  try {
    return dispatch(arguments);
  } catch (const Error& error) {
    return report(error.kind(), error.what());
  } catch (const c10::OutOfMemoryError& error) {
    return report(ErrorKind::io, fmt::format("out of GPU memory; lower --tokens-per-batch ({})", error.what_without_backtrace()));
  } catch (const c10::Error& error) {
    const std::string what = error.what_without_backtrace();
    if (what.find("DefaultCPUAllocator") != std::string::npos) return report(ErrorKind::io, "out of memory; lower --tokens-per-batch");
    return report(ErrorKind::internal, what);
  } catch (const std::bad_alloc&) {
    return report(ErrorKind::io, "out of memory; lower --tokens-per-batch");
  } catch (const std::filesystem::filesystem_error& error) {
    return report(ErrorKind::io, error.what());
  } catch (const std::exception& error) {
    return report(ErrorKind::internal, error.what());
  }
}

}  // namespace
}  // namespace metarm

int main(int argc, char** argv) {
  metarm::remove_outputs_when_interrupted();
  return metarm::guarded({argv + 1, argv + argc});
}
