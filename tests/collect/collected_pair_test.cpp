#include "metarm/collect/collected_pair.h"

#include <gtest/gtest.h>

#include "metarm/data/response_part.h"

namespace metarm {
namespace {

const Content kPrompt = std::string("q");

TEST(ResponsePart, IsFoundInEveryForm) {
  EXPECT_EQ(response_text(kPrompt, std::string(" yes")), " yes");
  EXPECT_EQ(response_text(std::nullopt, std::string("\n\nHuman: Hi\n\nAssistant: Hello!")), " Hello!");
  EXPECT_EQ(response_text(std::nullopt, Conversation{{"user", "Hi"}, {"assistant", "Hello!"}}), "Hello!");
  EXPECT_EQ(response_length(kPrompt, std::string("añ€😀")), 4);
}

TEST(ResponsePart, IsReplacedInEveryForm) {
  EXPECT_EQ(with_response_text(kPrompt, std::string(" yes"), " no"), Content(" no"));
  EXPECT_EQ(with_response_text(std::nullopt, std::string("\n\nHuman: Hi\n\nAssistant: Hello!"), " No."),
            Content("\n\nHuman: Hi\n\nAssistant: No."));
  EXPECT_EQ(with_response_text(std::nullopt, Conversation{{"user", "Hi"}, {"assistant", "Hello!"}}, "No."),
            Content(Conversation{{"user", "Hi"}, {"assistant", "No."}}));
}

TEST(ResponsePart, OnePromptOneKey) {
  const Pair explicit_prompt{Content("\n\nHuman: Hi\n\nAssistant:"), " a", " b", 0, 1, "", "", ""};
  const Pair implicit{std::nullopt, "\n\nHuman: Hi\n\nAssistant: a", "\n\nHuman: Hi\n\nAssistant: b", 0, 1, "", "", ""};
  EXPECT_EQ(prompt_key(explicit_prompt), prompt_key(implicit));
  EXPECT_NE(prompt_key(explicit_prompt), prompt_key({kPrompt, " a", " b", 0, 1, "", "", ""}));
}

CollectedPair made() { return {{kPrompt, " a", " b", 0, 0.5, "sums", "7", "f.jsonl:3"}, "pseudo", 0.75, {}, false, {}, false}; }

TEST(CollectedPair, SaysWhereItComesFrom) {
  EXPECT_EQ(to_rows(made()), (std::vector<Json>{Json::parse(R"({"prompt": "q", "chosen": " a", "rejected": " b", "weight": 0.5,
      "subset": "sums", "origin": {"kind": "pseudo", "row": "7", "confidence": 0.75}})")}));
  CollectedPair without_id = made();
  without_id.pair.id = "";
  without_id.others = {"f.jsonl:9"};
  EXPECT_EQ(to_rows(without_id)[0]["origin"]["row"], "f.jsonl:3");
  EXPECT_EQ(to_rows(without_id)[0]["origin"]["others"], Json::parse(R"(["f.jsonl:9"])"));
}

TEST(CollectedPair, ATieIsBothOrdersWithHalfTheWeight) {
  CollectedPair tie = made();
  tie.tie = true;
  const std::vector<Json> rows = to_rows(tie);
  ASSERT_EQ(rows.size(), 2);
  EXPECT_EQ(rows[0]["chosen"], rows[1]["rejected"]);
  EXPECT_EQ(rows[1]["chosen"], rows[0]["rejected"]);
  EXPECT_EQ(rows[0]["weight"], 0.25);
  EXPECT_EQ(rows[1]["weight"], 0.25);
}

TEST(CollectedPair, ARowThatWasReadKeepsItsFields) {
  CollectedPair read = made();
  read.pair.weight = 1;
  read.row = Json::parse(R"({"prompt": "q", "chosen": " a", "rejected": " b", "annotator": 3})");
  Json expected = *read.row;
  expected["origin"] = Json::parse(R"({"kind": "pseudo", "row": "7", "confidence": 0.75})");
  EXPECT_EQ(to_rows(read)[0], expected);
  (*read.row)["origin"] = "elsewhere";
  read.pair.weight = 2;
  EXPECT_EQ(to_rows(read)[0]["origin"], "elsewhere");
  EXPECT_EQ(to_rows(read)[0]["weight"], 2);
}

}  // namespace
}  // namespace metarm
