#include "metarm/shift/shift_log.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/base/wall_clock.h"
#include "tests/support/error_of.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct Fixture : testing::Test {
  TemporaryFolder folder;
  ShiftLogOptions options{.path = folder / "log.db", .rows_per_s = 1e6};
  std::unique_ptr<Log> quiet = make_null_log();

  static ScoredResponse row(const std::string& prompt, const std::string& response, double reward = 0, double age_s = 0,
                            const std::string& version = "v1") {
    return {prompt, response, reward, version, seconds_since_1970() - age_s, std::nullopt};
  }
  // Opens the log, adds the rows, and closes it.
  ShiftLogState write(const std::vector<ScoredResponse>& rows) {
    ShiftLog log(options, *quiet);
    std::uint64_t last = 0;
    for (const ScoredResponse& each : rows) last = std::max(last, log.add(each));
    EXPECT_TRUE(log.wait(last, 30s));
    return log.state();
  }
  std::vector<ResponseGroup> draw(GroupDraw draw) {
    ShiftLog log(options, *quiet);
    draw.now_s = seconds_since_1970();
    return log.draw(draw);
  }
  std::int64_t count(const char* sql) const {
    Database database(options.path, Database::Access::read);
    return database.number(sql);
  }
  std::string bytes_of_all_files() const {
    std::string all;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder.path())) all += read_file(entry.path().string());
    return all;
  }
};

using ShiftLogTest = Fixture;

std::vector<std::string> texts(const ResponseGroup& group) {
  std::vector<std::string> texts;
  for (const Content& response : group.responses) texts.push_back(std::get<std::string>(response));
  return texts;
}

TEST_F(ShiftLogTest, GroupsResponsesAcrossRequestsAndRuns) {
  write({row("p", "first", 1, 3), row("other", "alone")});
  write({row("p", "second", 2, 2), row("p", "first", 1, 1)});
  const std::vector<ResponseGroup> groups = draw({.groups = 10});
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(std::get<std::string>(groups[0].prompt), "p");
  EXPECT_EQ(texts(groups[0]), (std::vector<std::string>{"second", "first"}));  // each text once, by its newest row
  EXPECT_EQ(groups[0].rewards, (std::vector<double>{2, 1}));
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses"), 4);
}

TEST_F(ShiftLogTest, KeepsConversationsVersionsStepsAndTimes) {
  const Conversation prompt = {{"user", "\"hello\"\n"}}, response = {{"assistant", "ä"}};
  ScoredResponse one = row("", "");
  one.prompt = prompt;
  one.response = response;
  one.step = 17;
  ScoredResponse two = one;
  two.response = "text";
  two.version = "v2";
  write({one, two});
  const std::vector<ResponseGroup> groups = draw({.groups = 1});
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(std::get<Conversation>(groups[0].prompt), prompt);
  EXPECT_EQ(std::get<Conversation>(groups[0].responses[0]), response);
  EXPECT_TRUE(groups[0].rewards.empty());  // of two versions: not comparable
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses WHERE step = 17"), 2);
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses WHERE version = 'v2'"), 1);
}

TEST_F(ShiftLogTest, TakesTheNewestResponsesOfAGroupAndAsksForEnough) {
  write({row("p", "a", 1, 4), row("p", "b", 2, 3), row("p", "c", 3, 2), row("q", "a"), row("q", "a")});
  EXPECT_EQ(texts(draw({.groups = 5, .max_responses = 2}).at(0)), (std::vector<std::string>{"b", "c"}));
  EXPECT_EQ(draw({.groups = 5, .min_responses = 3}).size(), 1U);
  EXPECT_TRUE(draw({.groups = 5, .min_responses = 4}).empty());
}

TEST_F(ShiftLogTest, DrawsByHalfLives) {
  write({row("old", "a", 0, 100), row("old", "b", 0, 100), row("new", "a"), row("new", "b")});
  int new_first = 0;
  const int draws = 2000;
  ShiftLog log(options, *quiet);
  const auto first = [&](std::uint64_t seed, double half_life) {
    return std::get<std::string>(
        log.draw({.groups = 1, .half_life_s = half_life, .now_s = seconds_since_1970(), .seed = seed}).at(0).prompt);
  };
  for (int seed = 0; seed < draws; ++seed) new_first += first(static_cast<std::uint64_t>(seed), 100) == "new";
  EXPECT_NEAR(new_first / double{draws}, 2.0 / 3, 0.042);  // weights 1 and 1/2; four standard errors
  EXPECT_EQ(first(5, 100), first(5, 100));
  EXPECT_EQ(first(5, 0.1), "new");
}

TEST_F(ShiftLogTest, DrawsByTheTrainersStepsWhateverTheTime) {
  std::vector<ScoredResponse> rows = {row("late", "a"),  row("late", "b"), row("early", "a"),
                                      row("early", "b"), row("none", "a"), row("none", "b")};
  for (std::size_t i = 0; i < 4; ++i) rows[i].step = i < 2 ? 20 : 10;
  write(rows);
  ShiftLog log(options, *quiet);
  const auto prompts = [&](double step, double half_life) {
    std::vector<std::string> found;
    for (const ResponseGroup& group : log.draw({.groups = 10, .half_life_s = half_life, .now_s = step, .by_step = true}))
      found.push_back(std::get<std::string>(group.prompt));
    return found;
  };
  EXPECT_EQ(prompts(20, 0.01), (std::vector<std::string>{"late", "early", "none"})) << "rows without a step are the oldest";
  EXPECT_EQ(prompts(19, 0.01), (std::vector<std::string>{"early", "none"})) << "what comes later is left out";
}

TEST_F(ShiftLogTest, ADrawByStepsKnowsNoOrderWithinAStep) {
  std::vector<ScoredResponse> rows;
  for (int n = 0; n < 40; ++n)
    for (const char* response : {"a", "b", "c"}) {
      rows.push_back(row(fmt::format("p{}", n), response));
      rows.back().step = n / 20;
    }
  const auto drawn = [&](const char* name) {
    options.path = folder / name;
    write(rows);
    std::vector<std::string> found;
    for (const ResponseGroup& group :
         ShiftLog(options, *quiet).draw({.groups = 10, .max_responses = 2, .half_life_s = 1, .now_s = 1, .by_step = true, .seed = 3}))
      found.push_back(fmt::format("{} {}", std::get<std::string>(group.prompt), fmt::join(texts(group), " ")));
    return found;
  };
  const std::vector<std::string> first = drawn("one.db");
  std::ranges::reverse(rows);
  EXPECT_EQ(drawn("two.db"), first);
}

TEST_F(ShiftLogTest, TextsThatAreReadInAnotherWayAreAnotherGroup) {
  std::vector<ScoredResponse> rows = {row("p", "a"), row("p", "b"), row("p", "c"), row("p", "d")};
  rows[2].form = rows[3].form = TextForm::written;
  write(rows);
  std::vector<TextForm> forms;
  for (const ResponseGroup& group : draw({.groups = 5})) {
    EXPECT_EQ(group.responses.size(), 2U);
    forms.push_back(group.form);
  }
  std::ranges::sort(forms);
  EXPECT_EQ(forms, (std::vector<TextForm>{TextForm::response, TextForm::written}));
}

TEST_F(ShiftLogTest, TakesRowsFromManyThreads) {
  {
    ShiftLog log(options, *quiet);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 8; ++thread)
      threads.emplace_back([&, thread] {
        for (int n = 0; n < 500; ++n) EXPECT_NE(log.add(row(fmt::format("{}", n % 7), fmt::format("{} {}", thread, n))), 0U);
      });
    for (std::thread& thread : threads) thread.join();
  }  // its end writes what waits
  EXPECT_EQ(count("SELECT COUNT(DISTINCT text) FROM responses"), 4000);
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompts"), 7);
}

TEST_F(ShiftLogTest, KeepsWithinRowsAgeAndBytes) {
  options.limits.rows = 10;
  std::vector<ScoredResponse> rows;
  for (int n = 0; n < 30; ++n) rows.push_back(row(fmt::format("p{}", n), "r", n, 30 - n));
  EXPECT_EQ(write(rows).rows, 10);
  EXPECT_EQ(count("SELECT MIN(reward) FROM responses"), 20);
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompts"), 10);  // those without responses go, too

  options.limits.age_s = 5.5;
  const ShiftLogState state = write({row("old", "r", 99, 100), row("new", "r", 100)});
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses WHERE reward = 99"), 0);
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses WHERE reward = 100"), 1);
  EXPECT_LE(state.rows, 7);
  EXPECT_GE(state.removed, 1);

  options.limits = {.bytes = 400'000};
  rows.clear();
  for (int n = 0; n < 4000; ++n) rows.push_back(row(fmt::format("p{}", n), std::string(1000, 'x'), n));
  const ShiftLogState full = write(rows);
  EXPECT_LE(full.bytes, 400'000);
  EXPECT_GE(full.bytes, 200'000);
  EXPECT_EQ(count("SELECT MAX(reward) FROM responses"), 3999);
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses"), full.rows);
  EXPECT_EQ(count("SELECT MAX(reward) - MIN(reward) + 1 FROM responses"), full.rows);  // the newest
}

TEST_F(ShiftLogTest, CountsWhatIsSampledOutAndDropped) {
  options.rows_per_s = 1;
  options.burst_s = 10;
  std::vector<ScoredResponse> rows;
  for (int n = 0; n < 200; ++n) rows.push_back(row(fmt::format("p{}", n), "r"));
  const ShiftLogState sampled = write(rows);
  EXPECT_EQ(sampled.offered, 200);
  EXPECT_LE(sampled.accepted, 11);
  EXPECT_EQ(sampled.sampled_out, 200 - sampled.accepted);
  EXPECT_EQ(count("SELECT COUNT(*) FROM responses"), sampled.acknowledged);

  options.rows_per_s = 1e6;
  options.queue_bytes = 100;
  const ShiftLogState dropped = write({row("p", std::string(200, 'x')), row("p", "short")});
  EXPECT_EQ(dropped.dropped, 1);
  EXPECT_EQ(dropped.acknowledged, 1);
}

TEST_F(ShiftLogTest, RedactsWhatComesAndWhatWasThere) {
  write({row("a secret prompt", "a secret response", 1.5), row("a secret prompt", "another secret", 2.5)});
  EXPECT_NE(bytes_of_all_files().find("secret"), std::string::npos);
  options.redact = true;
  write({row("a secret prompt", "a third secret", 3.5), row("a secret prompt", "a secret response", 1.5)});
  EXPECT_EQ(bytes_of_all_files().find("secret"), std::string::npos);
  EXPECT_EQ(count("SELECT COUNT(*) FROM prompts"), 1);
  EXPECT_EQ(count("SELECT COUNT(DISTINCT hash) FROM responses"), 3);
  EXPECT_EQ(count("SELECT SUM(reward) FROM responses"), 9);
  EXPECT_NE(error_of([&] { draw({.groups = 1}); }).find("got a redacted one"), std::string::npos);
  options.redact = false;
  EXPECT_NE(error_of([&] { write({}); }).find("expected a log with texts, got a redacted one"), std::string::npos);
}

TEST_F(ShiftLogTest, MovesADamagedFileAsideAndBeginsAnew) {
  std::vector<ScoredResponse> rows;
  for (int n = 0; n < 300; ++n) rows.push_back(row(fmt::format("p{}", n), std::string(500, 'x')));
  const auto damages = std::vector<std::function<void()>>{
      [&] { std::fstream(options.path, std::ios::in | std::ios::out) << "no database at all, but a text"; },
      [&] {
        std::fstream file(options.path, std::ios::in | std::ios::out);
        for (int page = 1; page < 20; ++page) file.seekp(page * 4096) << std::string(100, '\xff');
      },
      [&] { fs::resize_file(options.path, fs::file_size(options.path) / 2); },
  };
  for (std::size_t n = 0; n < damages.size(); ++n) {
    write(rows);
    damages[n]();
    const std::string before = read_file(options.path), aside = fmt::format("{}.damaged-{}", options.path, n + 1);
    const ShiftLogState state = write({row("p", "a")});
    ASSERT_EQ(state.moved_aside.size(), 1U) << n;
    EXPECT_NE(state.moved_aside[0].find("it is now " + aside), std::string::npos) << state.moved_aside[0];
    EXPECT_EQ(read_file(aside), before);
    EXPECT_EQ(state.rows, 1);
    fs::remove(options.path);
  }
}

TEST_F(ShiftLogTest, LeavesOtherDatabasesAlone) {
  Database(options.path, Database::Access::write).execute("CREATE TABLE prompts (id)");
  const std::string before = read_file(options.path);
  EXPECT_NE(error_of([&] { write({}); }).find("expected a shift log of this version, got another database"), std::string::npos);
  EXPECT_EQ(read_file(options.path), before);
}

TEST_F(ShiftLogTest, OneProcessAtATimeAndPlacesThatAreNone) {
  const ShiftLog log(options, *quiet);
  EXPECT_NE(error_of([&] { write({}); }).find("expected no other process"), std::string::npos);
  options.path = "/nowhere/at/all";
  EXPECT_NE(error_of([&] { write({}); }).find("/nowhere/at/all.lock: expected to write"), std::string::npos);
}

TEST_F(ShiftLogTest, RefusesARewardThatIsNoNumber) {
  ShiftLog log(options, *quiet);
  EXPECT_NE(error_of([&] { log.add(row("p", "r", std::nan(""))); }).find("finite reward"), std::string::npos);
  EXPECT_EQ(log.state().offered, 0);
}

}  // namespace
}  // namespace metarm
