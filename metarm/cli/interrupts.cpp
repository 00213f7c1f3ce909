#include "metarm/cli/interrupts.h"

#include <csignal>
#include <cstdlib>
#include <thread>

#include "metarm/base/file.h"

namespace metarm {

namespace {

[[noreturn]] void end_by(int signal) {
  std::signal(signal, SIG_DFL);
  sigset_t unblocked;
  sigemptyset(&unblocked);
  sigaddset(&unblocked, signal);
  pthread_sigmask(SIG_UNBLOCK, &unblocked, nullptr);
  std::raise(signal);
  std::abort();
}

}  // namespace

// A thread of its own waits for them: a signal handler may neither lock nor list a folder.
void remove_outputs_when_interrupted() {
  sigset_t awaited;
  sigemptyset(&awaited);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction present {};
    sigaction(signal, nullptr, &present);
    if (present.sa_handler != SIG_IGN) sigaddset(&awaited, signal);
  }
  pthread_sigmask(SIG_BLOCK, &awaited, nullptr);
  std::thread([awaited] {
    int signal = 0;
    if (sigwait(&awaited, &signal) != 0) return;
    remove_unfinished_outputs();
    end_by(signal);
  }).detach();
}

}  // namespace metarm
