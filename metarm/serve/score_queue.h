// Requests from many threads into batches: one thread computes, and each batch is made of whatever waits when the one before has ended, up
// to a number of tokens. Sequences that begin alike share a tree, whoever sent them. A text's reward depends on nothing of this.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "metarm/http/reward_service.h"
#include "metarm/model/aggregate.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

// One version of one reward model, as the queue sees it.
class BatchScorer {
 public:
  virtual ~BatchScorer() = default;
  // One forward pass; same shape as `groups`, each of which is one token tree. Rewards may be no finite numbers. For one thread at a time.
  virtual GroupRewards score(std::span<const std::vector<TokenIds>> groups) const = 0;
};

struct QueueLimits {
  std::int64_t rows = 4096;              // waiting, at most
  std::int64_t tokens_per_batch = 8192;  // of a forward pass; a longer sequence is alone in one
};

struct ScoreResult {
  ScoreOutcome outcome;
  std::vector<float> rewards;
  double retry_after_s = 0;
  std::vector<float> deviations = {};  // as those of GroupRewards
};

class ScoreQueue {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ScoreQueue(const QueueLimits& limits);
  ~ScoreQueue();  // computes what was accepted
  ScoreQueue(const ScoreQueue&) = delete;
  ScoreQueue& operator=(const ScoreQueue&) = delete;

  // Rewards of sequences (none empty), all by `scorer`; waits for them. What was asked for and is not begun is dropped when the deadline
  // passes or `abandoned`, asked every 50 ms or more, says so. Rethrows what `scorer` threw; internal error for a client's reward that is
  // not a finite number. What the server itself asks for is computed where no client waits, else in one batch of several; it is not counted
  // as refused or abandoned.
  enum class Asker { client, server };
  ScoreResult score(std::shared_ptr<const BatchScorer> scorer, std::vector<TokenIds> sequences, Clock::time_point deadline,
                    const std::function<bool()>& abandoned, Asker asker = Asker::client);
  void close();  // refuses what comes from now on
  QueueState state() const;

 private:
  struct Request;
  struct Row {
    std::shared_ptr<Request> request;
    std::size_t index;
    const TokenIds& tokens() const;
  };
  struct TakenBatch;

  void compute_batches();
  Asker whose_turn();
  TakenBatch take_batch();
  void deliver(TakenBatch& batch);
  void drop(const Request& request);
  double retry_after_s() const;

  const QueueLimits limits_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::deque<Row> waiting_;
  QueueState state_;
  std::int64_t put_off_ = 0;      // batches since the server's own rows had one, while they waited
  double tokens_per_second_ = 0;  // of waiting tokens, lately; 0: not known yet
  bool closed_ = false;
  std::thread thread_;
};

}  // namespace metarm
