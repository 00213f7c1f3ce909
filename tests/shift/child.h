// A process of a test's own, to be killed or to run out of something.
#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>

namespace metarm {

class Child {
 public:
  // Forks; `body` is given a descriptor whose bytes read() returns here, and its result is the exit code (99: it threw).
  explicit Child(const std::function<int(int output)>& body) {
    std::array<int, 2> ends;
    if (pipe(ends.data()) != 0) throw std::runtime_error("no pipe");
    id_ = fork();
    if (id_ < 0) throw std::runtime_error("no child");
    if (id_ == 0) _exit(run(body, ends[1]));
    close(ends[1]);
    input_ = ends[0];
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    if (id_ > 0) kill();
    close(input_);
  }

  std::string read_some() {  // waits for the first; empty: it has ended
    std::array<char, 4096> piece;
    const ssize_t count = ::read(input_, piece.data(), piece.size());
    return std::string(piece.data(), count > 0 ? static_cast<std::size_t>(count) : 0);
  }
  std::string read_all() {
    std::string all;
    for (std::string piece = read_some(); !piece.empty(); piece = read_some()) all += piece;
    return all;
  }
  void kill() {
    ::kill(id_, SIGKILL);
    wait();
  }
  int wait() {
    int status = 0;
    waitpid(id_, &status, 0);
    id_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  static int run(const std::function<int(int)>& body, int output) {
    try {
      return body(output);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "child: %s\n", error.what());
      return 99;
    }
  }

  pid_t id_ = -1;
  int input_ = -1;
};

}  // namespace metarm
