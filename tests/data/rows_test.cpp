#include "metarm/data/rows.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

JsonRow row_of(const char* json) { return {Json::parse(json), "rows.jsonl", 3}; }

std::string error_of(const char* json) {
  try {
    parse_pair(row_of(json));
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Rows, PairsInEveryForm) {
  const Pair explicit_prompt =
      parse_pair(row_of(R"({"prompt": "p", "chosen": "a", "rejected": "b", "margin": 1.5, "weight": 0.5, "subset": "s", "id": 7})"));
  EXPECT_EQ(std::get<std::string>(*explicit_prompt.prompt), "p");
  EXPECT_EQ(explicit_prompt.margin, 1.5);
  EXPECT_EQ(explicit_prompt.weight, 0.5);
  EXPECT_EQ(explicit_prompt.id, "7");
  EXPECT_EQ(explicit_prompt.where, "rows.jsonl:3");
  EXPECT_FALSE(parse_pair(row_of(R"({"chosen": "a", "rejected": "b"})")).prompt.has_value());
  const Pair messages = parse_pair(
      row_of(R"({"prompt": [{"role": "user", "content": "hi"}], "chosen": [{"role": "assistant", "content": "a"}], "rejected": "b"})"));
  EXPECT_EQ(std::get<Conversation>(*messages.prompt), (Conversation{{"user", "hi"}}));
}

TEST(Rows, SummarizationComparisons) {
  const Pair pair = parse_pair(row_of(
      R"({"info": {"post": "P", "title": "T", "subreddit": "S"}, "summaries": [{"text": " one"}, {"text": "two"}], "choice": 1, "worker": "w"})"));
  EXPECT_EQ(std::get<std::string>(*pair.prompt), "SUBREDDIT: r/S\n\nTITLE: T\n\nPOST: P\n\nTL;DR:");
  EXPECT_EQ(std::get<std::string>(pair.chosen), " two");
  EXPECT_EQ(std::get<std::string>(pair.rejected), " one");
  EXPECT_THROW(
      parse_pair(row_of(R"({"info": {"post": "P", "title": "T", "subreddit": "S"}, "summaries": [{"text": "one"}], "choice": 0})")), Error);
  EXPECT_THROW(
      parse_pair(row_of(
          R"({"info": {"post": "P", "title": "T", "subreddit": "S"}, "summaries": [{"text": "one"}, {"text": "two"}], "choice": 2})")),
      Error);
}

TEST(Rows, ErrorsSayWhereAndWhat) {
  EXPECT_EQ(error_of(R"({"prompt": "p", "chosen": "a"})"), "rows.jsonl:3: rejected: expected a value, got no such field");
  EXPECT_EQ(error_of(R"({"chosen": null, "rejected": "b"})"), "rows.jsonl:3: chosen: expected text or a list of messages, got null");
  EXPECT_EQ(error_of(R"({"chosen": [], "rejected": "b"})"), "rows.jsonl:3: chosen: expected at least one message, got an empty list");
  EXPECT_EQ(error_of(R"({"chosen": [{"role": "robot", "content": "x"}], "rejected": "b"})"),
            "rows.jsonl:3: chosen[0]: role: expected system, user or assistant, got robot");
  EXPECT_EQ(error_of(R"({"chosen": "a", "rejected": "b", "weight": -1})"), "rows.jsonl:3: weight: expected a number of at least 0, got -1");
  EXPECT_EQ(error_of(R"({"chosen": "a", "rejected": "b", "margin": "1"})"), "rows.jsonl:3: margin: expected a number, got text");
}

TEST(Rows, EqualTextsTeachNothingButHaveScores) {
  const TemporaryFolder folder;
  write_file(folder / "a.jsonl", R"({"chosen": "a", "rejected": "a"})"
                                 "\n"
                                 R"({"chosen": "a", "rejected": "b"})"
                                 "\n");
  const Rows<Pair> rows = read_pairs({folder / "a.jsonl"}, BadRows::skip);
  EXPECT_EQ(rows.rows.size(), 1u);
  ASSERT_EQ(rows.report.first_errors.size(), 1u);
  EXPECT_EQ(rows.report.first_errors[0], folder / "a.jsonl" + ":1: chosen and rejected are equal");
  EXPECT_EQ(error_of(R"({"chosen": "a", "rejected": "a"})"), "");
}

TEST(Rows, ImplicitPrompts) {
  EXPECT_EQ(std::get<std::string>(implicit_prompt(std::string("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d"))),
            "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:");
  EXPECT_EQ(std::get<std::string>(implicit_prompt(std::string("plain"))), "");
  EXPECT_EQ(std::get<Conversation>(implicit_prompt(Conversation{{"user", "a"}, {"assistant", "b"}})), (Conversation{{"user", "a"}}));
}

TEST(Rows, ResponseGroupsRoundTrip) {
  const ResponseGroup group = parse_response_group(
      row_of(R"({"prompt": "p", "responses": ["a", "b"], "rewards": [1.0, null], "policy": "x", "round": 2, "subset": "s", "id": "p7"})"),
      2);
  EXPECT_EQ(group.rewards[0], 1.0);
  EXPECT_TRUE(std::isnan(group.rewards[1]));
  EXPECT_EQ(group.round, 2);
  EXPECT_EQ(to_json(group)["id"], "p7");
  EXPECT_EQ(to_json(group)["subset"], "s");
  for (const char* round : {"-1", "1.5", "1e300", "\"2\""})
    EXPECT_THROW(parse_response_group(row_of(fmt::format(R"({{"prompt": "p", "responses": ["a"], "round": {}}})", round).c_str()), 1),
                 Error)
        << round;
  EXPECT_FALSE(to_json(group).contains("text_form"));
  const JsonRow written = row_of(R"({"prompt": "p", "responses": ["a"], "text_form": "written"})");
  EXPECT_EQ(parse_response_group(written, 1).form, TextForm::written);
  EXPECT_EQ(to_json(parse_response_group(written, 1)), written.value);
  EXPECT_THROW(parse_response_group(row_of(R"({"prompt": "p", "responses": ["a"], "text_form": "wrtten"})"), 1), Error);
  EXPECT_EQ(to_json(group)["responses"], Json::parse(R"(["a", "b"])"));
  EXPECT_THROW(parse_response_group(row_of(R"({"prompt": "p", "responses": ["a"]})"), 2), Error);
  EXPECT_THROW(parse_response_group(row_of(R"({"prompt": "p", "responses": ["a", "b"], "rewards": [1]})"), 2), Error);
}

TEST(Rows, GroupsSayWhichResponsesEnded) {
  const JsonRow row = row_of(R"({"prompt": "p", "responses": ["a", "b"], "ended": [true, false]})");
  const ResponseGroup group = parse_response_group(row, 2);
  EXPECT_TRUE(group.has_ended(0));
  EXPECT_FALSE(group.has_ended(1));
  EXPECT_EQ(to_json(group), row.value);
  EXPECT_TRUE(parse_response_group(row_of(R"({"prompt": "p", "responses": ["a"], "ended": null})"), 1).has_ended(0));
  for (const char* ended : {"[true]", "true", "[true, 1]", "2"})
    EXPECT_THROW(parse_response_group(row_of(fmt::format(R"({{"prompt": "p", "responses": ["a", "b"], "ended": {}}})", ended).c_str()), 1),
                 Error)
        << ended;
}

TEST(Rows, WhatIsSaidOfAResponseStaysWithIt) {
  ResponseGroup group = parse_response_group(
      row_of(R"({"prompt": "p", "responses": ["a", "b", "c"], "rewards": [1.0, 2.0, 3.0], "ended": [true, false, true], "id": "7"})"), 2);
  const ResponseGroup plain = parse_response_group(row_of(R"({"prompt": "p", "responses": ["a", "b"]})"), 2);
  keep_responses(group, std::vector<std::size_t>{1, 2});
  EXPECT_EQ(to_json(group),
            Json::parse(R"({"prompt": "p", "responses": ["b", "c"], "rewards": [2.0, 3.0], "ended": [false, true], "id": "7"})"));
  ResponseGroup kept = plain;
  keep_responses(kept, std::vector<std::size_t>{0, 1});
  EXPECT_EQ(to_json(kept), to_json(plain));
  keep_responses(kept, {});
  EXPECT_TRUE(kept.responses.empty());
}

TEST(Rows, PromptsComeFromPairsAndGroupsToo) {
  EXPECT_EQ(std::get<std::string>(parse_prompt(row_of(R"({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "c"})")).prompt),
            "\n\nHuman: a\n\nAssistant:");
  EXPECT_EQ(std::get<std::string>(parse_prompt(row_of(R"({"prompt": "p", "responses": ["a"]})")).prompt), "p");
  EXPECT_EQ(parse_prompt(row_of(R"({"prompt": "p", "subset": "s"})")).subset, "s");
  EXPECT_THROW(parse_prompt(row_of(R"({"prompt": ""})")), Error);
}

TEST(Rows, KindsAreRecognisedByTheirFields) {
  EXPECT_EQ(recognise_row(row_of(R"({"chosen": "a", "rejected": "b"})")), RowKind::pair);
  EXPECT_EQ(recognise_row(row_of(R"({"prompt": "p", "responses": []})")), RowKind::response_group);
  EXPECT_EQ(recognise_row(row_of(R"({"prompt": "p", "response": "a"})")), RowKind::text);
  EXPECT_THROW(recognise_row(row_of(R"({"question": "p"})")), Error);
  try {
    recognise_row(row_of(R"({"prompt": "p", "chosen": "a"})"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "rows.jsonl:3: rejected: expected a value, got no such field");
  }
}

}  // namespace
}  // namespace metarm
