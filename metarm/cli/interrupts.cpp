#include "metarm/cli/interrupts.h"

#include <csignal>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

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

std::mutex mutex;
std::function<void()> stop_once;  // empty: the next signal ends the program

std::function<void()> take_stop() {
  const std::lock_guard lock(mutex);
  return std::exchange(stop_once, {});
}

}  // namespace

void stop_when_interrupted(std::function<void()> stop) {
  const std::lock_guard lock(mutex);
  stop_once = std::move(stop);
}

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
    for (;;) {
      int signal = 0;
      if (sigwait(&awaited, &signal) != 0) return;
      if (const std::function<void()> stop = take_stop()) {
        std::thread(stop).detach();
        continue;
      }
      remove_unfinished_outputs();
      end_by(signal);
    }
  }).detach();
}

}  // namespace metarm
