#include "metarm/rounds/child_process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr int kNotStarted = 127;

// After fork: only what is safe between fork and exec.
[[noreturn]] void become(char* const* arguments, int output, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || dup2(output, STDOUT_FILENO) < 0) _exit(kNotStarted);
  execvp(arguments[0], arguments);
  _exit(kNotStarted);
}

std::string read_all(int descriptor) {
  std::string text;
  std::array<char, 4096> piece;
  for (;;) {
    const ssize_t count = read(descriptor, piece.data(), piece.size());
    if (count > 0)
      text.append(piece.data(), static_cast<std::size_t>(count));
    else if (count == 0 || errno != EINTR)
      return text;
  }
}

}  // namespace

FinishedProcess run_process(const std::vector<std::string>& arguments) {
  std::vector<char*> words;
  for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  std::array<int, 2> pipe_ends;
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) fail_io("{}: could not make a pipe: {}", arguments[0], std::strerror(errno));
  const pid_t parent = getpid(), child = fork();
  if (child == 0) become(words.data(), pipe_ends[1], parent);
  close(pipe_ends[1]);
  if (child < 0) {
    close(pipe_ends[0]);
    fail_io("{}: could not start: {}", arguments[0], std::strerror(errno));
  }
  FinishedProcess finished;
  finished.standard_out = read_all(pipe_ends[0]);
  close(pipe_ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) fail_io("{}: lost its process: {}", arguments[0], std::strerror(errno));
  finished.exit_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return finished;
}

}  // namespace metarm
