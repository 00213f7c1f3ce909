#include "metarm/serve/shift_watch.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "metarm/serve/status_history.h"
#include "tests/support/temporary_folder.h"

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

std::optional<std::pair<std::string, std::string>> texts(const std::string& text, const TextMarks& marks,
                                                         std::optional<Content> told = {}) {
  const auto found = prompt_and_response(
      {.prompt = {}, .text = Content(text), .form = TextForm::literal, .where = {}, .told_prompt = std::move(told)}, marks);
  if (!found) return {};
  return std::pair(std::get<std::string>(found->prompt), std::get<std::string>(found->response));
}

TEST(PromptAndResponse, AreDividedAtTheChatTemplatesLastAssistantTurn) {
  const Conversation asked = {{"user", "a"}, {"assistant", "b"}, {"user", "c"}};
  for (const ChatFormat format : {ChatFormat::chatml, ChatFormat::llama2, ChatFormat::llama3, ChatFormat::mistral, ChatFormat::mistral_v3,
                                  ChatFormat::gemma2, ChatFormat::zephyr, ChatFormat::vicuna, ChatFormat::qwen3, ChatFormat::hh}) {
    const ChatTemplate chat(format, "<s>", "</s>");
    const std::string prompt = chat.render(asked, true);
    const auto found = texts(prompt + " d", marks_of(&chat, "<s>"));
    ASSERT_TRUE(found) << enum_name(format);
    EXPECT_EQ(*found, std::pair(prompt, std::string(" d"))) << enum_name(format);
  }
  const ChatTemplate chat(ChatFormat::chatml, "<s>", "</s>");
  EXPECT_TRUE(texts("\n\nHuman: a\n\nAssistant: b", marks_of(&chat, ""))) << "another form than the template's";
}

TEST(PromptAndResponse, AToldPromptMayHaveLostItsBeginningOrAStartToken) {
  const TextMarks marks{"<s>", "<|im_start|>assistant\n"};
  using Pair = std::pair<std::string, std::string>;
  EXPECT_EQ(texts("<s>the inn is open", marks, Content("the inn")), Pair("<s>the inn", " is open")) << "together they are the text";
  EXPECT_EQ(texts("the inn is open", marks, Content("<s>the inn")), Pair("the inn", " is open"));
  const std::string whole = "a long question about the inn at the river: is it open?";
  for (const std::string start : {"", "<s>"})
    EXPECT_EQ(texts(start + "at the river: is it open? yes", marks, Content(whole)), Pair(start + "at the river: is it open?", " yes"));
  EXPECT_EQ(texts("ababababababababababc", marks, Content("xababababababababababab")), Pair("abababababababababab", "c"))
      << "the longest of many ends";
  EXPECT_FALSE(texts("open? yes", marks, Content(whole))) << "so few may be alike by chance";
  EXPECT_EQ(texts("<|im_start|>assistant\nyes", marks, Content("another")), Pair("<|im_start|>assistant\n", "yes"));
}

TEST(PromptAndResponse, AreNotMadeUp) {
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = Content("the inn")}));
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = Content("the inn"), .told_prompt = Content("another")}));
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = Content(chat({{"user", "a"}}))}));
  EXPECT_FALSE(prompt_and_response({.prompt = {}, .text = TokenIds{1, 2}}));
}

class WarningList : public Log {
 public:
  void message(LogLevel level, const std::string& text) override {
    if (level == LogLevel::warning) warnings.push_back(text);
  }
  void progress(std::string_view, std::int64_t, std::int64_t, std::string_view) override {}
  std::vector<std::string> warnings;
};

class ShiftWatchTest : public testing::Test {
 protected:
  ShiftWatchTest()
      : log_(make_null_log()),
        watch_(
            {.log = {}, .test = {}, .reference_groups = 20}, [this] { ++notices_; }, *log_) {}
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

ShiftLogOptions log_in(const TemporaryFolder& folder) { return {.path = folder / "log.sqlite", .rows_per_s = 1e6}; }

void score_text(ShiftWatch& watch, const std::string& text, std::optional<std::int64_t> step = {}) {
  ScoreQuery query;
  query.items.push_back({.prompt = {}, .text = Content(text)});
  query.step = step;
  ScoreReply reply;
  reply.rewards = {1.0f};
  reply.version = "v";
  watch.add(query, reply);
}

TEST(ShiftWatchLog, CountsTextsWithoutAPromptAndWarnsOnce) {
  const TemporaryFolder folder;
  WarningList log;
  ShiftWatch watch(
      {.log = log_in(folder), .test = {}, .reference_groups = 20}, [] {}, log);
  watch.split_by({"", "<a>"});
  for (const char* text : {"the inn", "then", "nine<a>ten"}) score_text(watch, text);
  EXPECT_EQ(watch.log_status()["unsplit"], 2);
  EXPECT_EQ(watch.log_status()["offered"], 1);
  ASSERT_EQ(log.warnings.size(), 1u);
  EXPECT_NE(log.warnings[0].find("log.unsplit"), std::string::npos);
  EXPECT_EQ(log.warnings[0].find("inn"), std::string::npos);
}

TEST(ShiftWatchLog, ARestartGoesOnWithTheReferenceThatTheVersionHad) {
  const TemporaryFolder folder;
  const auto log = make_null_log();
  const auto score = [](ShiftWatch& watch, const std::string& version, int prompt, float difference) {
    for (int k = 0; k < 2; ++k) {
      ScoreQuery query;
      query.items.push_back({.prompt = Content(fmt::format("prompt {}", prompt)), .text = Content(fmt::format("response {}", k))});
      ScoreReply reply;
      reply.rewards = {difference * static_cast<float>(k)};
      reply.version = version;
      watch.add(query, reply);
    }
  };
  {
    ShiftWatch watch(
        {.log = log_in(folder), .test = {}, .reference_groups = 20}, [] {}, *log);
    watch.begin_version("other", 0.5);
    for (int i = 0; i < 30; ++i) score(watch, "other", i, 7);
    watch.begin_version("present", 0.5);
    for (int i = 100; i < 130; ++i) score(watch, "present", i, 1.0f + static_cast<float>(i % 3));
  }
  ShiftWatch watch(
      {.log = log_in(folder), .test = {}, .reference_groups = 20}, [] {}, *log);
  watch.begin_version("present", 0.5);
  watch.replay();
  const ShiftState state = watch.test();
  EXPECT_EQ(state.reference_wanted, 0);
  EXPECT_EQ(state.differences.reference, 20);
  EXPECT_EQ(state.differences.period, 10);
  EXPECT_LT(state.differences.reference_mean, 3) << "what another version gave is not the reference";
  EXPECT_EQ(watch.groups(), 30);
}

TEST(StatusHistory, RatesAreOfAllTheTimeSinceThePointBefore) {
  StatusHistory history(4);
  for (int i = 0; i < 7; ++i)
    if (history.takes_next()) history.add({{"rows_per_s", i < 4 ? i : 100}});
  // 0 and 1, 2 and 3, then one for two: four are halved again.
  EXPECT_EQ(history.to_json()["rows_per_s"].get<std::vector<double>>(), (std::vector<double>{1.5, 100}));
}

TEST(StatusHistory, KeepsTheWholeRunInABoundedNumberOfPoints) {
  StatusHistory history(16);
  for (int i = 0; i < 1000; ++i)
    if (history.takes_next()) history.add({{"time", i}, {"x", i % 2 == 0 ? std::optional(1.5) : std::nullopt}});
  const Json json = history.to_json();
  EXPECT_LE(json["time"].size(), 16u);
  EXPECT_GE(json["time"].size(), 7u);
  EXPECT_LT(json["time"][0].get<int>(), 150);
  EXPECT_GT(json["time"].back().get<int>(), 850);
  EXPECT_EQ(json["x"].size(), json["time"].size());
}

}  // namespace
}  // namespace metarm
