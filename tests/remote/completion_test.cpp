#include "metarm/remote/completion.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "tests/support/error_of.h"

namespace metarm {
namespace {

Completion parse(const char* text) { return parse_completion(Json::parse(text), "url"); }

std::string error_of(const char* text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "none";
}

TEST(Completion, BothCalls) {
  const Completion texts = parse(
      R"({"choices": [{"index": 1, "text": "b", "finish_reason": "length"}, {"index": 0, "text": "a", "finish_reason": "stop"}],
          "usage": {"prompt_tokens": 5, "completion_tokens": 7}})");
  ASSERT_EQ(texts.choices.size(), 2U);
  EXPECT_EQ(texts.choices[0].text, "a");
  EXPECT_TRUE(texts.choices[0].ended);
  EXPECT_EQ(texts.choices[1].text, "b");
  EXPECT_FALSE(texts.choices[1].ended);
  EXPECT_EQ(texts.prompt_tokens, 5);
  EXPECT_EQ(texts.answer_tokens, 7);
  const Completion chat = parse(R"({"choices": [{"message": {"role": "assistant", "content": "hi"}}, {"message": {"content": ""}}]})");
  EXPECT_EQ(chat.choices[0].text, "hi");
  EXPECT_EQ(chat.choices[1].text, "");
  EXPECT_EQ(chat.answer_tokens, 0);
}

TEST(Completion, WhatWasCutBeforeTheAnswerHasNoText) {
  const auto has_text = [](const char* message, const char* finish_reason) {
    const Json choice = {{"message", Json::parse(message)}, {"finish_reason", finish_reason}};
    Json answer;
    answer["choices"].push_back(choice);
    return parse_completion(answer, "url").choices[0].text.has_value();
  };
  EXPECT_FALSE(has_text(R"({"content": null, "reasoning_content": "Let me"})", "length"));
  EXPECT_FALSE(has_text(R"({"content": null})", "stop"));
  EXPECT_FALSE(has_text(R"({"content": "", "reasoning_content": "Let me"})", "length"));
  EXPECT_TRUE(has_text(R"({"content": "", "reasoning_content": "Let me be silent."})", "stop"));
  EXPECT_TRUE(has_text(R"({"content": "", "reasoning_content": ""})", "length"));
  EXPECT_TRUE(has_text(R"({"content": "", "reasoning_content": null})", "length"));
}

TEST(Completion, EndsOfItsOwn) {
  const auto parsed = [](const Json& finish_reason) {
    const Json choice = {{"text", "a"}, {"finish_reason", finish_reason}};
    Json answer;
    answer["choices"].push_back(choice);
    return parse_completion(answer, "url").choices[0];
  };
  for (const char* reason : {"stop", "eos", "eos_token", "stop_sequence"}) EXPECT_TRUE(parsed(reason).ended) << reason;
  for (const Json& reason : {Json("stop"), Json("length"), Json(nullptr)}) EXPECT_EQ(parsed(reason).broken_by, "");
  EXPECT_FALSE(parsed("length").ended);
  EXPECT_TRUE(parsed(nullptr).ended);  // nothing says that it was cut
  for (const char* reason : {"abort", "content_filter"}) {
    EXPECT_EQ(parsed(reason).broken_by, reason);
    EXPECT_FALSE(parsed(reason).ended);
  }
  EXPECT_TRUE(parse(R"({"choices": [{"text": " a", "index": 0}]})").choices[0].ended);
}

TEST(Completion, TextThatIsWholeOrCutIsRequired) {
  EXPECT_EQ(require_text({.text = "a", .ended = true}, "url"), "a");
  EXPECT_EQ(require_text({.text = "a"}, "url"), "a");
  EXPECT_EQ(require_text({.text = ""}, "url"), "");
  EXPECT_EQ(metarm::error_of([] { require_text({.text = "a", .broken_by = "abort"}, "url"); }),
            "url: finish_reason: expected stop or length, got \"abort\"");
  EXPECT_NE(metarm::error_of([] { require_text({}, "url"); }).find("url: content: expected text, got none"), std::string::npos);
}

TEST(Completion, WrongTypesAreErrors) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "url: expected an object with choices, got list"},
      {"{}", "url: choices: expected a value, got no such field"},
      {R"({"choices": null})", "url: choices: expected a list, got null"},
      {R"({"choices": []})", "url: choices: expected at least one, got none"},
      {R"({"choices": ["a"]})", "url: choices[0]: expected an object, got text"},
      {R"({"choices": [{"text": "a"}, {"text": 1}]})", "url: choices[1]: text: expected text, got number"},
      {R"({"choices": [{"message": "a"}]})", "url: choices[0]: message: expected an object with content, got text"},
      {R"({"choices": [{"message": {"content": []}}]})", "url: choices[0]: message: content: expected text, got list"},
      {R"({"choices": [{"text": "a", "finish_reason": 3}]})", "url: choices[0]: finish_reason: expected text, got number"},
      {R"({"choices": [{"text": "a", "index": -1}]})", "url: choices[0]: index: expected a whole number of at least 0, got -1"},
      {R"({"choices": [{"text": "a", "index": "0"}]})", "url: choices[0]: index: expected a whole number of at least 0, got text"},
      {R"({"choices": [{"text": "a"}], "usage": 3})", "url: usage: expected an object, got number"},
      {R"({"choices": [{"text": "a"}], "usage": {"prompt_tokens": 1.5}})",
       "url: usage: prompt_tokens: expected a whole number of at least 0, got 1.5"},
      {R"({"error": {"message": "cold"}})", "url: expected an answer, got an error \"cold\""}};
  for (const auto& [text, message] : cases) EXPECT_EQ(error_of(text), message);
  EXPECT_EQ(error_of(R"({"choices": [{"text": "a"}], "error": null, "usage": null})"), "none");
}

}  // namespace
}  // namespace metarm
