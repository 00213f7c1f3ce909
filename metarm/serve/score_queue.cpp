#include "metarm/serve/score_queue.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <set>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"
#include "metarm/serve/prefix_groups.h"

namespace metarm {

namespace {

// Where many wait, each asks less often: a thousand do so for a quarter of a second more.
constexpr auto kAskWhetherAbandoned = std::chrono::milliseconds(50);
constexpr auto kMoreForEachRow = std::chrono::microseconds(250);
constexpr std::int64_t kBatchesLookedThrough = 4;  // so many batches' tokens are searched for common prefixes
constexpr std::int64_t kPutOff = 3;                // so many of the clients' batches the server's own rows wait for, at most

std::int64_t length(const TokenIds& tokens) { return static_cast<std::int64_t>(tokens.size()); }

std::int64_t total_length(const std::vector<TokenIds>& sequences) {
  std::int64_t total = 0;
  for (const TokenIds& tokens : sequences) total += length(tokens);
  return total;
}

std::exception_ptr not_finite(float reward) {
  return std::make_exception_ptr(Error(ErrorKind::internal, fmt::format("expected finite rewards, got {}", reward)));
}

}  // namespace

struct ScoreQueue::Request {
  std::shared_ptr<const BatchScorer> scorer;
  std::vector<TokenIds> sequences;
  std::vector<float> rewards, deviations;
  std::size_t left;  // without a reward
  Asker asker;
  std::exception_ptr error;
  std::condition_variable ended;
  bool has_ended() const { return left == 0 || error; }
};

const TokenIds& ScoreQueue::Row::tokens() const { return request->sequences[index]; }

struct ScoreQueue::TakenBatch {
  std::shared_ptr<const BatchScorer> scorer;
  std::vector<std::vector<Row>> groups;
  std::int64_t tokens = 0, tree_tokens = 0;
  GroupRewards scored;
  std::exception_ptr error;
  double seconds = 0;

  void compute() {
    const Stopwatch stopwatch;
    std::vector<std::vector<TokenIds>> sequences;
    for (const std::vector<Row>& group : groups) {
      sequences.emplace_back();
      for (const Row& row : group) sequences.back().push_back(row.tokens());
    }
    try {
      scored = scorer->score(sequences);
    } catch (...) {
      error = std::current_exception();
    }
    seconds = stopwatch.seconds();
  }
};

ScoreQueue::ScoreQueue(const QueueLimits& limits) : limits_(limits), thread_([this] { compute_batches(); }) {}

ScoreQueue::~ScoreQueue() {
  close();
  thread_.join();
}

void ScoreQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  work_.notify_all();
}

QueueState ScoreQueue::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

ScoreResult ScoreQueue::score(std::shared_ptr<const BatchScorer> scorer, std::vector<TokenIds> sequences, Clock::time_point deadline,
                              const std::function<bool()>& abandoned, Asker asker) {
  const std::size_t count = sequences.size();
  const std::int64_t tokens = total_length(sequences);
  const auto request = std::make_shared<Request>();
  request->scorer = std::move(scorer);
  request->sequences = std::move(sequences);
  request->rewards.resize(count);
  request->left = count;
  request->asker = asker;

  std::unique_lock lock(mutex_);
  if (closed_) return {ScoreOutcome::closing, {}};
  if (state_.rows + static_cast<std::int64_t>(count) > limits_.rows) {
    state_.refused += asker == Asker::client;
    return {ScoreOutcome::full, {}, retry_after_s()};
  }
  for (std::size_t i = 0; i < count; ++i) waiting_.push_back({request, i});
  state_.rows += static_cast<std::int64_t>(count);
  state_.tokens += tokens;
  work_.notify_one();

  while (!request->has_ended()) {
    request->ended.wait_until(lock, std::min(deadline, Clock::now() + kAskWhetherAbandoned + state_.rows * kMoreForEachRow));
    if (request->has_ended()) break;
    if (Clock::now() >= deadline) {
      drop(*request);
      ++state_.late;
      return {ScoreOutcome::late, {}};
    }
    if (!abandoned) continue;
    lock.unlock();
    const bool gone = abandoned();
    lock.lock();
    if (!gone || request->has_ended()) continue;
    drop(*request);
    state_.abandoned += asker == Asker::client;
    return {ScoreOutcome::abandoned, {}};
  }
  if (request->error) std::rethrow_exception(request->error);
  return {ScoreOutcome::scored, std::move(request->rewards), 0, std::move(request->deviations)};
}

// Takes the request's rows out of the queue; those that are being computed are for nobody.
void ScoreQueue::drop(const Request& request) {
  std::erase_if(waiting_, [&](const Row& row) {
    if (row.request.get() != &request) return false;
    --state_.rows;
    state_.tokens -= length(row.tokens());
    return true;
  });
}

double ScoreQueue::retry_after_s() const {
  const double seconds = tokens_per_second_ > 0 ? static_cast<double>(state_.tokens) / tokens_per_second_ : 1;
  return std::clamp(seconds, 1.0, 60.0);
}

void ScoreQueue::compute_batches() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    TakenBatch batch = take_batch();
    lock.unlock();
    batch.compute();
    lock.lock();
    deliver(batch);
  }
}

ScoreQueue::Asker ScoreQueue::whose_turn() {
  const auto waits = [&](Asker asker) {
    return std::ranges::any_of(waiting_, [&](const Row& row) { return row.request->asker == asker; });
  };
  if (!waits(Asker::server)) return Asker::client;
  if (put_off_ < kPutOff && waits(Asker::client)) {
    ++put_off_;
    return Asker::client;
  }
  put_off_ = 0;
  return Asker::server;
}

// The trees that hold the rows waiting longest of those whose turn it is, all for the model of the first of these.
ScoreQueue::TakenBatch ScoreQueue::take_batch() {
  TakenBatch batch;
  const Asker asker = whose_turn();
  std::vector<std::size_t> places;
  std::vector<const TokenIds*> sequences;
  std::int64_t looked_through = 0;
  for (std::size_t i = 0; i < waiting_.size() && looked_through < kBatchesLookedThrough * limits_.tokens_per_batch; ++i) {
    const Request& request = *waiting_[i].request;
    if (request.asker != asker) continue;
    if (!batch.scorer) batch.scorer = request.scorer;
    if (request.scorer != batch.scorer) continue;
    places.push_back(i);
    sequences.push_back(&waiting_[i].tokens());
    looked_through += length(*sequences.back());
  }

  std::set<std::size_t> taken;
  for (const PrefixGroup& group : group_by_prefix(sequences, limits_.tokens_per_batch)) {
    if (!taken.empty() && batch.tree_tokens + group.tokens > limits_.tokens_per_batch) break;
    batch.tree_tokens += group.tokens;
    std::vector<Row>& rows = batch.groups.emplace_back();
    for (const std::size_t member : group.members) {
      rows.push_back(waiting_[places[member]]);
      batch.tokens += length(*sequences[member]);
      taken.insert(places[member]);
    }
  }
  std::deque<Row> left;
  for (std::size_t i = 0; i < waiting_.size(); ++i)
    if (!taken.contains(i)) left.push_back(std::move(waiting_[i]));
  waiting_ = std::move(left);
  state_.rows -= static_cast<std::int64_t>(taken.size());
  state_.tokens -= batch.tokens;
  return batch;
}

void ScoreQueue::deliver(TakenBatch& batch) {
  ++state_.batches;
  state_.tree_tokens += batch.tree_tokens;
  if (batch.seconds > 0) {
    const double lately = static_cast<double>(batch.tokens) / batch.seconds;
    tokens_per_second_ = tokens_per_second_ > 0 ? 0.8 * tokens_per_second_ + 0.2 * lately : lately;
  }
  for (std::size_t g = 0; g < batch.groups.size(); ++g)
    for (std::size_t i = 0; i < batch.groups[g].size(); ++i) {
      Request& request = *batch.groups[g][i].request;
      const bool finite = batch.error || request.asker == Asker::server || std::isfinite(batch.scored.rewards[g][i]);
      if (batch.error || !finite) {
        if (!request.error) drop(request);
        request.error = finite ? batch.error : not_finite(batch.scored.rewards[g][i]);
      } else {
        const std::size_t index = batch.groups[g][i].index;
        request.rewards[index] = batch.scored.rewards[g][i];
        if (!batch.scored.deviations.empty()) {
          request.deviations.resize(request.sequences.size());
          request.deviations[index] = batch.scored.deviations[g][i];
        }
        --request.left;
      }
      if (request.has_ended()) request.ended.notify_all();
    }
}

}  // namespace metarm
