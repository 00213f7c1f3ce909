#include "metarm/base/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"

namespace metarm {

namespace {

constexpr int kNotStarted = 127;
constexpr int kMostLeftPieces = 4096;  // that are still read once the process has ended: others may go on writing
constexpr int kPatience_ms = 100, kEndPatience_ms = 5;

// After fork: only what is safe between fork and exec.
void step_back(const BackgroundWork& work) {
  setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);
  if (const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC); nothing >= 0) dup2(nothing, STDIN_FILENO);
  [[maybe_unused]] const int niceness = nice(work.niceness);  // fewer rights to be nice are no reason to fail
  if (const int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); score >= 0) {
    [[maybe_unused]] const ssize_t written = write(score, "1000", 4);
    close(score);
  }
  if (work.errors_to.empty()) return;
  const int errors = open(work.errors_to.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (errors < 0 || dup2(errors, STDERR_FILENO) < 0) _exit(kNotStarted);
}

// `kept`: a descriptor that stays open; -1: none.
[[noreturn]] void become(char* const* arguments, int output, pid_t parent, const BackgroundWork* work, int kept) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent || dup2(output, STDOUT_FILENO) < 0) _exit(kNotStarted);
  if (work != nullptr) step_back(*work);
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);  // sockets of clients, above all
  if (kept >= 0) fcntl(kept, F_SETFD, 0);
  execvp(arguments[0], arguments);
  _exit(kNotStarted);
}

class Child {
 public:
  Child(const std::vector<std::string>& arguments, const BackgroundWork* work, int kept = -1) : name_(arguments[0]), work_(work) {
    std::vector<char*> words;
    for (const std::string& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    std::array<int, 2> pipe_ends;
    if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) fail_io("{}: could not make a pipe: {}", name_, std::strerror(errno));
    const pid_t parent = getpid();
    id_ = fork();
    if (id_ == 0) become(words.data(), pipe_ends[1], parent, work, kept);
    close(pipe_ends[1]);
    output_ = pipe_ends[0];
    if (work != nullptr && id_ > 0) setpgid(id_, id_);  // here, too: whoever comes first
    if (id_ < 0) {
      close(output_);
      fail_io("{}: could not start: {}", name_, std::strerror(errno));
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { close(output_); }

  // What its own children still write after its end is nobody's.
  FinishedProcess finish() {
    while (!status_) {
      read_some(kPatience_ms);
      end_if_due();
      look();
    }
    for (int i = 0; i < kMostLeftPieces && read_some(0); ++i) {
    }
    finished_.exit_code = WIFSIGNALED(*status_) ? 128 + WTERMSIG(*status_) : WEXITSTATUS(*status_);
    return std::move(finished_);
  }

 private:
  bool read_some(int patience_ms) {
    pollfd ready{at_end_ ? -1 : output_, POLLIN, 0};
    if (poll(&ready, 1, at_end_ ? std::min(patience_ms, kEndPatience_ms) : patience_ms) <= 0) return false;
    std::array<char, 4096> piece;
    const ssize_t count = read(output_, piece.data(), piece.size());
    if (count > 0) finished_.standard_out.append(piece.data(), static_cast<std::size_t>(count));
    at_end_ = count == 0;
    return count > 0;
  }

  void end_if_due() {
    if (work_ == nullptr || finished_.killed) return;
    const bool late = work_->seconds > 0 && stopwatch_.seconds() > work_->seconds;
    if (!late && (!work_->cancelled || !work_->cancelled())) return;
    finished_.killed = kill(-id_, SIGKILL) == 0;
  }

  void look() {
    siginfo_t info = {};
    if (work_ != nullptr && waitid(P_PID, static_cast<id_t>(id_), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == id_)
      kill(-id_, SIGKILL);  // children that it has left behind, while its number is still its own
    int status = 0;
    const pid_t ended = waitpid(id_, &status, WNOHANG);
    if (ended == id_) status_ = status;
    if (ended < 0 && errno != EINTR) fail_io("{}: lost its process: {}", name_, std::strerror(errno));
  }

  std::string name_;
  const BackgroundWork* work_;
  Stopwatch stopwatch_;
  pid_t id_ = -1;
  int output_ = -1;
  bool at_end_ = false;
  std::optional<int> status_;
  FinishedProcess finished_;
};

}  // namespace

FinishedProcess run_process(const std::vector<std::string>& arguments) { return Child(arguments, nullptr).finish(); }

FinishedProcess run_process(const std::vector<std::string>& arguments, const FileLock& lock) {
  return Child(arguments, nullptr, lock.descriptor()).finish();
}

FinishedProcess run_process(const std::vector<std::string>& arguments, const BackgroundWork& work) {
  return Child(arguments, &work).finish();
}

}  // namespace metarm
