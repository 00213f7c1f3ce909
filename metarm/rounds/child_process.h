// A program run to its end, which does not outlive its caller.
#pragma once

#include <string>
#include <vector>

namespace metarm {

struct FinishedProcess {
  int exit_code = 0;         // 128 + the signal's number where one ended it
  std::string standard_out;  // of what was asked for; errors and progress go to the caller's own
};

// `arguments[0]` is looked for in PATH. io error when it cannot be started. On Linux the kernel kills it when the caller dies.
FinishedProcess run_process(const std::vector<std::string>& arguments);

}  // namespace metarm
