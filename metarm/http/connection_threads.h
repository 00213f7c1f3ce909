// The threads that serve connections, as cpp-httplib asks for them: made when they are first needed, up to a number.
#pragma once

#include <httplib.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace metarm {

class ConnectionThreads : public httplib::TaskQueue {
 public:
  // `waiting` is kept at the number of connections that no thread has taken up yet.
  ConnectionThreads(std::size_t count, std::atomic<std::size_t>& waiting) : count_(count), waiting_(waiting) { start_thread(); }

  // Returns bool in newer versions of httplib, nothing in older ones.
  using Accepted = decltype(std::declval<httplib::TaskQueue&>().enqueue({}));
  // Waits where as many wait as there are threads: the rest is left to the system's queue.
  Accepted enqueue(std::function<void()> connection) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return connections_.size() < count_; });
    connections_.push_back(std::move(connection));
    if (connections_.size() > idle_ && threads_.size() < count_) {
      try {
        start_thread();
      } catch (const std::system_error&) {
        // The system gives no more: those that there are take it.
      }
    }
    count_waiting();
    work_.notify_one();
    return static_cast<Accepted>(true);
  }

  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  // It counts as idle from here on, so that one that is about to run is not made twice.
  void start_thread() {
    threads_.emplace_back([this] { run(); });
    ++idle_;
  }

  // Those that no idle thread is about to take.
  void count_waiting() { waiting_ = connections_.size() > idle_ ? connections_.size() - idle_ : 0; }

  void run() {
    for (bool first = true;; first = false) {
      std::function<void()> connection;
      {
        std::unique_lock lock(mutex_);
        if (!first) ++idle_;
        work_.wait(lock, [&] { return closed_ || !connections_.empty(); });
        --idle_;
        if (connections_.empty()) return;
        connection = std::move(connections_.front());
        connections_.pop_front();
        count_waiting();
        room_.notify_one();
      }
      connection();
    }
  }

  const std::size_t count_;
  std::atomic<std::size_t>& waiting_;
  std::mutex mutex_;
  std::condition_variable work_, room_;
  std::deque<std::function<void()>> connections_;
  std::size_t idle_ = 0;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace metarm
