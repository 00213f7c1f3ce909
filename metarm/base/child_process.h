// A program run to its end. It does not outlive its caller; what it has started itself may.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "metarm/base/file_lock.h"

namespace metarm {

struct FinishedProcess {
  int exit_code = 0;         // 128 + the signal's number where one ended it
  bool killed = false;       // by us: its time was over, or it was cancelled
  std::string standard_out;  // of what was asked for; errors and progress go to the caller's own, or to BackgroundWork::errors_to
};

// How a process works beside its caller without getting in its way: with its own children in a group of its own, at a lower priority, and
// as the first to be ended by the kernel where memory runs out.
struct BackgroundWork {
  int niceness = 10;                     // on top of the caller's
  double seconds = 0;                    // after which it is killed; 0: no limit
  std::string errors_to = {};            // a file for its standard error; empty: the caller's own
  std::function<bool()> cancelled = {};  // asked every 0.1 s, may be empty: whether it is to be killed
};

// `arguments[0]` is looked for in PATH. io error when it cannot be started. On Linux the kernel kills it, but not its own children, when
// the thread that called ends. Of this process's descriptors it has the standard ones alone.
FinishedProcess run_process(const std::vector<std::string>& arguments);
// The same, but it has the lock's descriptor too, and so have all that it starts: they hold the lock as long as they live.
FinishedProcess run_process(const std::vector<std::string>& arguments, const FileLock& lock);
FinishedProcess run_process(const std::vector<std::string>& arguments, const BackgroundWork& work);

}  // namespace metarm
