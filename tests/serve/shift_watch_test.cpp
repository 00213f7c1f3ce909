#include "metarm/serve/shift_watch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "metarm/serve/status_history.h"

namespace metarm {
namespace {

Conversation chat(std::initializer_list<Message> messages) { return messages; }

TEST(PromptAndResponse, AreAsTheRequestSays) {
  const auto found = prompt_and_response({.prompt = Content("the inn"), .text = Content(" is open")});
  ASSERT_TRUE(found);
  EXPECT_EQ(std::get<std::string>(found->prompt), "the inn");
  EXPECT_EQ(std::get<std::string>(found->response), " is open");
  EXPECT_EQ(std::get<std::string>(prompt_and_response({.prompt = {}, .text = Content("ab c"), .told_prompt = Content("ab")})->response),
            " c");
}

TEST(PromptAndResponse, AreFoundInATextOrAConversation) {
  const auto spoken = prompt_and_response({.prompt = {}, .text = Content("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d")});
  ASSERT_TRUE(spoken);
  EXPECT_EQ(std::get<std::string>(spoken->prompt), "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:");
  EXPECT_EQ(std::get<std::string>(spoken->response), " d");
  const Message user{"user", "a"}, assistant{"assistant", "b"};
  const auto messages = prompt_and_response({.prompt = {}, .text = Content(chat({user, assistant}))});
  ASSERT_TRUE(messages);
  EXPECT_EQ(std::get<Conversation>(messages->prompt).size(), 1u);
  EXPECT_EQ(std::get<Conversation>(messages->response).back().content, "b");
}

TEST(PromptAndResponse, AreNotMadeUp) {
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = Content("the inn")}));
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = Content("the inn"), .told_prompt = Content("another")}));
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = Content(chat({{"user", "a"}}))}));
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = TokenIds{1, 2}}));
}

class ShiftWatchTest : public testing::Test {
 protected:
  ShiftWatchTest()
      : log_(make_null_log()),
        watch_(
            {.log = {}, .test = {}, .reference_groups = 20, .time_is_step = false}, [this] { ++notices_; }, *log_) {}
  void score(int prompt, std::vector<float> rewards) {
    ScoreQuery query;
    ScoreReply reply;
    for (std::size_t k = 0; k < rewards.size(); ++k) {
      query.items.push_back({.prompt = Content(fmt::format("prompt {}", prompt)), .text = Content(fmt::format("response {}", k))});
      reply.rewards.push_back(rewards[k]);
    }
    watch_.add(query, reply);
  }

  std::unique_ptr<Log> log_;
  int notices_ = 0;
  ShiftWatch watch_;
};

TEST_F(ShiftWatchTest, TheFirstGroupsAreTheReference) {
  for (int i = 0; i < 19; ++i) score(i, {0, 1.0f + static_cast<float>(i % 5)});
  EXPECT_EQ(watch_.test_status(), Json({{"reference_wanted", 20}, {"reference", 19}}));
  score(19, {0, 1});
  const Json status = watch_.test_status();
  EXPECT_EQ(status["differences"]["reference"], 20);
  EXPECT_NEAR(status["differences"]["reference_mean"].get<double>(), 56.0 / 20, 1e-9);
  EXPECT_EQ(watch_.groups(), 20);
}

TEST_F(ShiftWatchTest, AShiftIsNoticedAndANewVersionBeginsAnew) {
  for (int i = 0; i < 40; ++i) score(i, {0, 1.0f + static_cast<float>(i % 7)});
  EXPECT_FALSE(watch_.test().alarm);
  int i = 40;
  while (!watch_.test().alarm && i < 400) score(i++, {0, 0.01f * static_cast<float>(i % 7)});
  EXPECT_LT(i, 200);
  EXPECT_EQ(notices_, watch_.groups()) << "with each group";
  watch_.begin_version("next", 0.5);
  EXPECT_FALSE(watch_.test().alarm);
  EXPECT_EQ(watch_.test().reference_wanted, 20);
  score(1000, {0, 1});
  EXPECT_EQ(watch_.test().reference_collected, 0) << "what the version before has scored is not the next one's";
  EXPECT_EQ(watch_.groups(), i) << "they are counted over all versions";
}

TEST(StatusHistory, KeepsTheWholeRunInABoundedNumberOfPoints) {
  StatusHistory history(16);
  for (int i = 0; i < 1000; ++i) history.offer({{"time", i}, {"x", i % 2 == 0 ? std::optional(1.5) : std::nullopt}});
  const Json json = history.to_json();
  EXPECT_LE(json["time"].size(), 16u);
  EXPECT_GE(json["time"].size(), 7u);
  EXPECT_EQ(json["time"][0], 0);
  EXPECT_GT(json["time"].back().get<int>(), 850);
  EXPECT_EQ(json["x"].size(), json["time"].size());
}

}  // namespace
}  // namespace metarm
