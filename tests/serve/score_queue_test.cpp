#include "metarm/serve/score_queue.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <future>
#include <numeric>
#include <semaphore>
#include <stdexcept>

#include "metarm/base/error.h"
#include "metarm/base/random.h"
#include "metarm/model/token_tree.h"

namespace metarm {
namespace {

using std::chrono_literals::operator""ms;
constexpr TokenId kNotANumber = 77;
constexpr auto kNever = ScoreQueue::Clock::time_point::max();

float reward_of(const TokenIds& tokens, float version = 0) {
  return version + static_cast<float>(std::accumulate(tokens.begin(), tokens.end(), 0));
}

// Scores by a sum; keeps what it was asked; a held one waits for release() before each batch.
class SumScorer : public BatchScorer {
 public:
  explicit SumScorer(float version = 0, bool held = false) : version_(version), held_(held) {}

  GroupRewards score(std::span<const std::vector<TokenIds>> groups) const override {
    begun_.release();
    if (held_) released_.acquire();
    const std::lock_guard lock(mutex_);
    batches_.emplace_back(groups.begin(), groups.end());
    std::vector<std::vector<float>> rewards;
    for (const std::vector<TokenIds>& group : groups) {
      rewards.emplace_back();
      for (const TokenIds& tokens : group) {
        if (tokens.front() < 0) throw std::runtime_error("a bad token");
        rewards.back().push_back(tokens.front() == kNotANumber ? std::nanf("") : reward_of(tokens, version_));
      }
    }
    return {rewards};
  }

  void wait_until_begun() const { begun_.acquire(); }
  void release() const { released_.release(); }
  std::vector<std::vector<std::vector<TokenIds>>> batches() const {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

 private:
  const float version_;
  const bool held_;
  mutable std::counting_semaphore<> begun_{0}, released_{0};
  mutable std::mutex mutex_;
  mutable std::vector<std::vector<std::vector<TokenIds>>> batches_;
};

std::future<ScoreResult> ask(ScoreQueue& queue, std::shared_ptr<const BatchScorer> scorer, std::vector<TokenIds> sequences,
                             ScoreQueue::Clock::time_point deadline = kNever, std::function<bool()> abandoned = {}) {
  return std::async(std::launch::async, [&queue, scorer = std::move(scorer), sequences = std::move(sequences), deadline, abandoned] {
    return queue.score(scorer, sequences, deadline, abandoned);
  });
}

void wait_for_rows(const ScoreQueue& queue, std::int64_t rows) {
  for (int i = 0; i < 2000 && queue.state().rows != rows; ++i) std::this_thread::sleep_for(1ms);
  ASSERT_EQ(queue.state().rows, rows);
}

TEST(ScoreQueue, ManyThreadsGetTheirOwnRewardsAndNothingIsLost) {
  const auto scorer = std::make_shared<SumScorer>();
  std::atomic<std::int64_t> asked = 0;
  {
    ScoreQueue queue({10000, 40});
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < 8; ++thread)
      threads.emplace_back([&, thread] {
        for (std::uint64_t turn = 0; turn < 50; ++turn) {
          RandomStream random(thread, "queue", turn);
          std::vector<TokenIds> sequences(random.below(6));
          for (TokenIds& tokens : sequences) {
            tokens.assign(5, static_cast<TokenId>(random.below(3)));
            for (std::uint64_t i = random.below(20); i > 0; --i) tokens.push_back(static_cast<TokenId>(random.below(50)));
          }
          asked += static_cast<std::int64_t>(sequences.size());
          const ScoreResult result = queue.score(scorer, sequences, kNever, {});
          ASSERT_EQ(result.outcome, ScoreOutcome::scored);
          ASSERT_EQ(result.rewards.size(), sequences.size());
          for (std::size_t i = 0; i < sequences.size(); ++i) ASSERT_EQ(result.rewards[i], reward_of(sequences[i]));
        }
      });
    for (std::thread& thread : threads) thread.join();
    const QueueState state = queue.state();
    EXPECT_EQ(state.rows, 0);
    EXPECT_EQ(state.tokens, 0);
  }
  std::int64_t scored = 0;
  for (const auto& batch : scorer->batches()) {
    std::int64_t tokens = 0;
    for (const auto& group : batch) {
      tokens += make_token_tree(group).token_count();
      scored += static_cast<std::int64_t>(group.size());
    }
    EXPECT_LE(tokens, 40);
  }
  EXPECT_EQ(scored, asked.load());
}

TEST(ScoreQueue, RequestsWithOnePromptShareATree) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  ScoreQueue queue({100, 1000});
  auto first = ask(queue, scorer, {{9}});
  scorer->wait_until_begun();
  std::vector<std::future<ScoreResult>> results;
  for (const TokenId end : {5, 6, 7}) results.push_back(ask(queue, scorer, {{1, 2, 3, 4, end}}));
  wait_for_rows(queue, 3);
  scorer->release();
  scorer->release();
  first.get();
  for (auto& result : results) EXPECT_EQ(result.get().outcome, ScoreOutcome::scored);
  const auto batches = scorer->batches();
  ASSERT_EQ(batches.size(), 2);
  ASSERT_EQ(batches[1].size(), 1);
  EXPECT_EQ(batches[1][0].size(), 3);
  EXPECT_EQ(queue.state().tree_tokens, 1 + 4 + 3);
}

TEST(ScoreQueue, AFullQueueRefusesUntilThereIsRoom) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  ScoreQueue queue({2, 1000});
  auto computing = ask(queue, scorer, {{1}});
  scorer->wait_until_begun();
  auto waiting = ask(queue, scorer, {{2}, {3}});
  wait_for_rows(queue, 2);
  const ScoreResult refused = queue.score(scorer, {{4}}, ScoreQueue::Clock::now() + 2000ms, {});
  EXPECT_EQ(refused.outcome, ScoreOutcome::full);
  EXPECT_GE(refused.retry_after_s, 1);
  EXPECT_EQ(queue.state().refused, 1);
  for (int i = 0; i < 3; ++i) scorer->release();
  EXPECT_EQ(computing.get().outcome, ScoreOutcome::scored);
  EXPECT_EQ(waiting.get().rewards, (std::vector<float>{2, 3}));
  EXPECT_EQ(queue.score(scorer, {{4}}, kNever, {}).rewards, std::vector<float>{4});
}

TEST(ScoreQueue, WhatIsLateOrAbandonedIsNotComputed) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  ScoreQueue queue({100, 1000});
  auto computing = ask(queue, scorer, {{1}});
  scorer->wait_until_begun();
  std::atomic<bool> gone = false;
  auto late = ask(queue, scorer, {{2}}, ScoreQueue::Clock::now() + 50ms);
  auto abandoned = ask(queue, scorer, {{3}}, kNever, [&] { return gone.load(); });
  auto patient = ask(queue, scorer, {{4}});
  EXPECT_EQ(late.get().outcome, ScoreOutcome::late);
  EXPECT_EQ(abandoned.wait_for(100ms), std::future_status::timeout);
  gone = true;
  EXPECT_EQ(abandoned.get().outcome, ScoreOutcome::abandoned);
  wait_for_rows(queue, 1);
  scorer->release();
  scorer->release();
  computing.get();
  EXPECT_EQ(patient.get().rewards, std::vector<float>{4});
  EXPECT_EQ(scorer->batches(), (std::vector<std::vector<std::vector<TokenIds>>>{{{{1}}}, {{{4}}}}));
  EXPECT_EQ(queue.state().late, 1);
  EXPECT_EQ(queue.state().abandoned, 1);
}

TEST(ScoreQueue, AFailureIsThatOfItsBatchAlone) {
  const auto scorer = std::make_shared<SumScorer>();
  ScoreQueue queue({100, 3});
  EXPECT_THROW(queue.score(scorer, {{1, 1, 1}, {-1, 1, 1}, {2, 2, 2}}, kNever, {}), std::runtime_error);
  EXPECT_EQ(queue.score(scorer, {{5}}, kNever, {}).rewards, std::vector<float>{5});
  EXPECT_EQ(queue.state().rows, 0);
}

TEST(ScoreQueue, ARewardThatIsNoNumberIsAnErrorOfItsRequestAlone) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  ScoreQueue queue({100, 1000});
  auto first = ask(queue, scorer, {{1}});
  scorer->wait_until_begun();
  auto bad = ask(queue, scorer, {{2}, {kNotANumber}}), good = ask(queue, scorer, {{3}});
  wait_for_rows(queue, 3);
  for (int i = 0; i < 2; ++i) scorer->release();
  first.get();
  EXPECT_EQ(good.get().rewards, std::vector<float>{3});
  EXPECT_THROW(bad.get(), Error);
  EXPECT_EQ(scorer->batches().size(), 2u) << "all of them in one";
}

TEST(ScoreQueue, WhatTheServerItselfAsksForIsNotAClients) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  ScoreQueue queue({2, 1000});
  auto computing = ask(queue, scorer, {{1}});
  scorer->wait_until_begun();
  const auto ask_myself = [&](std::vector<TokenIds> sequences) {
    return queue
        .score(
            scorer, std::move(sequences), kNever, [] { return true; }, ScoreQueue::Asker::server)
        .outcome;
  };
  EXPECT_EQ(ask_myself({{1}, {2}, {3}}), ScoreOutcome::full);
  EXPECT_EQ(ask_myself({{1}}), ScoreOutcome::abandoned);
  EXPECT_EQ(queue.state().refused + queue.state().abandoned, 0);
  scorer->release();
  computing.get();
}

TEST(ScoreQueue, WhatTheServerItselfAsksForWaitsForClientsButNotForever) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  ScoreQueue queue({100, 1});  // a batch is one row
  auto computing = ask(queue, scorer, {{1}});
  scorer->wait_until_begun();
  auto own = std::async(std::launch::async, [&] {
    return queue.score(scorer, {{10}, {11}, {kNotANumber}}, kNever, {}, ScoreQueue::Asker::server);
  });
  wait_for_rows(queue, 3);
  auto clients = ask(queue, scorer, {{20}, {21}, {22}, {23}});
  wait_for_rows(queue, 7);
  for (int i = 0; i < 8; ++i) scorer->release();
  computing.get();
  clients.get();
  const std::vector<float> rewards = own.get().rewards;
  EXPECT_EQ(rewards[1], 11);
  EXPECT_TRUE(std::isnan(rewards[2])) << "the guard looks at it";
  std::vector<TokenId> order;
  for (const auto& batch : scorer->batches()) order.push_back(batch.at(0).at(0).at(0));
  EXPECT_EQ(order, (std::vector<TokenId>{1, 20, 21, 22, 10, 23, 11, kNotANumber}));
}

TEST(ScoreQueue, VersionsAreNotMixedInABatch) {
  const auto old_version = std::make_shared<SumScorer>(0.f, true), new_version = std::make_shared<SumScorer>(1000.f);
  ScoreQueue queue({100, 100});
  auto first = ask(queue, old_version, {{1, 1}});
  old_version->wait_until_begun();
  auto before = ask(queue, old_version, {{2, 2}, {3, 3}});
  wait_for_rows(queue, 2);
  auto after = ask(queue, new_version, {{4, 4}});
  wait_for_rows(queue, 3);
  old_version->release();
  old_version->release();
  EXPECT_EQ(before.get().rewards, (std::vector<float>{4, 6}));
  EXPECT_EQ(after.get().rewards, std::vector<float>{1008});
}

TEST(ScoreQueue, EndsAfterWhatItHasAccepted) {
  const auto scorer = std::make_shared<SumScorer>(0.f, true);
  auto queue = std::make_unique<ScoreQueue>(QueueLimits{100, 1});
  auto first = ask(*queue, scorer, {{1}});
  scorer->wait_until_begun();
  auto second = ask(*queue, scorer, {{2}});
  wait_for_rows(*queue, 1);
  queue->close();
  EXPECT_EQ(queue->score(scorer, {{3}}, kNever, {}).outcome, ScoreOutcome::closing);
  scorer->release();
  scorer->release();
  EXPECT_EQ(first.get().rewards, std::vector<float>{1});
  EXPECT_EQ(second.get().rewards, std::vector<float>{2});
  queue.reset();
}

}  // namespace
}  // namespace metarm
