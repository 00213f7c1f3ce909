#include "metarm/data/encode.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

// One token a letter, ids by the alphabet: a = 3, b = 4, ...; <s> = 1, </s> = 2.
std::string letters_tokenizer(bool adds_start) {
  Json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (char letter = 'a'; letter <= 'z'; ++letter) vocab[std::string(1, letter)] = 3 + letter - 'a';
  Json added = Json::array();
  for (const char* token : {"<unk>", "<s>", "</s>"})
    added.push_back({{"id", vocab[token]},
                     {"content", token},
                     {"special", true},
                     {"normalized", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"single_word", false}});
  Json tokenizer = {{"version", "1.0"},
                    {"added_tokens", added},
                    {"normalizer", nullptr},
                    {"pre_tokenizer", nullptr},
                    {"post_processor", nullptr},
                    {"decoder", nullptr},
                    {"model", {{"type", "BPE"}, {"unk_token", "<unk>"}, {"vocab", vocab}, {"merges", Json::array()}}}};
  if (adds_start)
    tokenizer["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single", {{{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}}, {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
        {"pair", Json::array()},
        {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}, {"tokens", {"<s>"}}}}}}};
  return tokenizer.dump();
}

// The same from a folder that names its special tokens.
Tokenizer named_tokenizer(bool adds_start, bool names_start) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", letters_tokenizer(adds_start));
  Json config = {{"eos_token", "</s>"}};
  if (names_start) config["bos_token"] = "<s>";
  write_file(folder / "tokenizer_config.json", config.dump());
  return Tokenizer::load(folder.path());
}

Content text(const char* value) { return std::string(value); }

TEST(Encode, PromptAndResponseAreOneText) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(true), "test");
  Encoder encoder(tokenizer, nullptr, 0);
  EXPECT_EQ(encoder.sequence(text("ab"), text("c"), "x"), (TokenIds{1, 3, 4, 5}));
  EXPECT_EQ(encoder.sequence(text("<s>ab"), text("c"), "x"), (TokenIds{1, 3, 4, 5}));
  EXPECT_EQ(encoder.report().doubled_start, 1);
}

TEST(Encode, OldestPromptTokensGoFirstAndTheStartTokenStays) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(false), "test");
  Encoder encoder(tokenizer, nullptr, 4);
  EXPECT_EQ(encoder.sequence(text("abcd"), text("ef"), "x"), (TokenIds{5, 6, 7, 8}));
  EXPECT_EQ(encoder.sequence(text("ab"), text("cdefg"), "x"), std::nullopt);
  EXPECT_EQ(encoder.report().truncated, 1);
}

TEST(Encode, ResponsesBeginWhereTheyLeaveThePrompt) {
  const Tokenizer tokenizer = named_tokenizer(true, true);
  Encoder encoder(tokenizer, nullptr, 6);
  const std::vector<Content> contents = {text("ef"), text("efg"), text("efghi")};
  const std::vector<EncodedResponse> responses = encoder.responses(text("abcd"), contents, "x");
  ASSERT_EQ(responses.size(), 2);
  EXPECT_EQ(responses[0].tokens, (TokenIds{1, 5, 6, 7, 8, 2}));  // a and b went
  EXPECT_EQ(responses[0].begin, 3);
  EXPECT_EQ(responses[0].length(), 3);
  EXPECT_EQ(responses[1].tokens, (TokenIds{1, 6, 7, 8, 9, 2}));
  EXPECT_EQ(responses[1].begin, 2);
  EXPECT_EQ(encoder.report().too_long, 1);
}

TEST(Encode, ATokenThatNothingPrecedesIsNotPredicted) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(false), "test");
  Encoder encoder(tokenizer, nullptr, 0);
  const std::vector<Content> contents = {text("ab"), text("a")};
  const std::vector<EncodedResponse> responses = encoder.responses(std::nullopt, contents, "x");
  ASSERT_EQ(responses.size(), 1);
  EXPECT_EQ(responses[0].begin, 1);
  EXPECT_EQ(encoder.report().no_response, 1);
  EXPECT_EQ(encoder.report().too_long, 0);
}

TEST(Encode, ResponsePairsAreWholeOrLeftOut) {
  const Tokenizer tokenizer = named_tokenizer(false, false);
  Encoder encoder(tokenizer, nullptr, 5);
  const auto pair = [](const char* chosen, const char* rejected) {
    Pair made;
    made.prompt = text("ab"), made.chosen = text(chosen), made.rejected = text(rejected);
    made.margin = 0.5;
    return made;
  };
  const std::vector<EncodedResponsePair> pairs = encoder.response_pairs({pair("c", "d"), pair("cdefgh", "d"), pair("c", "c")});
  ASSERT_EQ(pairs.size(), 1);
  EXPECT_EQ(pairs[0].chosen.tokens, (TokenIds{3, 4, 5, 2}));
  EXPECT_EQ(pairs[0].rejected.begin, 2);
  EXPECT_EQ(pairs[0].margin, 0.5);
  EXPECT_EQ(encoder.report().too_long, 1);
  EXPECT_EQ(encoder.report().equal, 1);
}

TEST(Encode, TheStartTokenOutlivesTruncation) {
  for (const bool names_start : {true, false}) {
    const Tokenizer tokenizer = named_tokenizer(true, names_start);
    Encoder encoder(tokenizer, nullptr, 5);
    EXPECT_EQ(encoder.sequence(text("abcd"), text("ef"), "x"), (TokenIds{1, 6, 7, 8, 2}));
    EXPECT_EQ(encoder.sequence(text("abcd"), text("efg"), "x"), (TokenIds{1, 7, 8, 9, 2}));
    EXPECT_EQ(encoder.sequence(text("abcd"), text("efgh"), "x"), std::nullopt);  // there is no place for the start token
    EXPECT_EQ(encoder.prompt(text("abcd"), 3, "x"), (TokenIds{1, 5, 6}));
    EXPECT_EQ(encoder.prompt(text("abcd"), 1, "x"), (TokenIds{6}));
  }
  const Tokenizer without = named_tokenizer(false, true);
  Encoder encoder(without, nullptr, 5);
  EXPECT_EQ(encoder.sequence(text("abcd"), text("efgh"), "x"), (TokenIds{7, 8, 9, 10, 2}));
  EXPECT_EQ(encoder.sequence(text("<s>abcd"), text("ef"), "x"), (TokenIds{1, 6, 7, 8, 2}));  // the text's own
}

TEST(Encode, TheEndTokenComesOnce) {
  const Tokenizer tokenizer = named_tokenizer(true, true);
  Encoder encoder(tokenizer, nullptr, 0);
  EXPECT_EQ(encoder.sequence(text("a"), text("x"), "x"), (TokenIds{1, 3, 26, 2}));
  EXPECT_EQ(encoder.sequence(text("a"), text("x</s>"), "x"), (TokenIds{1, 3, 26, 2}));
  EXPECT_EQ(encoder.sequence(text("a"), text("x</s></s>"), "x"), (TokenIds{1, 3, 26, 2, 2}));
  EXPECT_EQ(encoder.sequence(std::nullopt, text("x</s>x"), "x"), (TokenIds{1, 26, 2, 26, 2}));
  EXPECT_TRUE(encoder.report().notes().empty());
}

TEST(Encode, ATokenizerWithoutAnEndTokenIsReported) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(true), "test");
  Encoder encoder(tokenizer, nullptr, 0);
  encoder.sequence(text("a"), text("b"), "x");
  EXPECT_EQ(encoder.report().no_end, 1);
  ASSERT_EQ(encoder.report().notes().size(), 1U);
  EXPECT_NE(encoder.report().notes()[0].find("no end token"), std::string::npos);
}

TEST(Encode, AnEndTokenOutsideTheVocabularyIsRefused) {
  const TemporaryFolder folder;
  write_file(folder / "tokenizer.json", letters_tokenizer(true));
  write_file(folder / "config.json", R"({"eos_token_id": 99})");
  try {
    Tokenizer::load(folder.path());
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("eos_token_id: expected the id of one of the tokenizer's 29 tokens, got 99"),
              std::string::npos)
        << error.what();
  }
}

TEST(Encode, PairsThatTruncationMakesEqualAreLeftOutAndCounted) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(false), "test");
  Encoder encoder(tokenizer, nullptr, 3);
  Pair same{text("a"), text("bcd"), text("bcd"), 0, 1, "", "", "x"};
  Pair differ{text("ab"), text("cd"), text("ce"), 0.5, 2, "", "", "x"};
  Pair too_long{text("a"), text("bcde"), text("b"), 0, 1, "", "", "x"};
  const std::vector<EncodedPair> pairs = encoder.pairs({same, differ, too_long});
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].chosen, (TokenIds{4, 5, 6}));
  EXPECT_EQ(pairs[0].row, 1);
  EXPECT_EQ(pairs[0].margin, 0.5);
  EXPECT_EQ(encoder.report().equal, 1);
  EXPECT_EQ(encoder.report().too_long, 1);
  EXPECT_EQ(encoder.report().notes().size(), 4U);  // and no end token
}

TEST(Encode, GroupsKeepWhatFits) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(false), "test");
  Encoder encoder(tokenizer, nullptr, 3);
  ResponseGroup group;
  group.prompt = text("a");
  group.responses = {text("b"), text("cdef"), text("c")};
  ResponseGroup lost = group;
  lost.responses = {text("b"), text("cdef")};
  const std::vector<EncodedGroup> groups = encoder.groups({group, lost});
  ASSERT_EQ(groups.size(), 1U);
  EXPECT_EQ(groups[0].responses, (std::vector<TokenIds>{{3, 4}, {3, 5}}));
  EXPECT_EQ(groups[0].places, (std::vector<std::int64_t>{0, 2}));
  EXPECT_EQ(encoder.report().too_long, 2);
  EXPECT_EQ(encoder.report().small_groups, 1);
}

TEST(Encode, WhatStaysAsItStandsGetsNoEnd) {
  const Tokenizer tokenizer = named_tokenizer(true, true);
  Encoder encoder(tokenizer, nullptr, 4);
  ResponseGroup group;
  group.prompt = text("a");
  group.responses = {text("b"), text("bc"), text("bcd")};
  const auto tokens = [&](TextForm form) {
    group.form = form;
    const std::vector<EncodedGroup> groups = encoder.groups({group});
    return groups.empty() ? std::vector<TokenIds>{} : groups[0].responses;
  };
  EXPECT_EQ(tokens(TextForm::response), (std::vector<TokenIds>{{1, 3, 4, 2}, {1, 4, 5, 2}})) << "its oldest token gone";
  EXPECT_EQ(tokens(TextForm::written), (std::vector<TokenIds>{{1, 3, 4}, {1, 3, 4, 5}})) << "nothing is cut off what stays as it stands";
  EXPECT_EQ(tokens(TextForm::literal), (std::vector<TokenIds>{{3, 4}, {3, 4, 5}, {3, 4, 5, 6}}));
  group.prompt = text("<s>a");
  group.responses = {text("b"), text("b</s>")};
  for (const TextForm form : {TextForm::written, TextForm::literal})
    EXPECT_EQ(tokens(form), (std::vector<TokenIds>{{1, 3, 4}, {1, 3, 4, 2}})) << "what it spells itself is there once";
}

TEST(Encode, WholeConversationsAreNotPutAfterTheirPromptAgain) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(false), "test");
  const ChatTemplate chat(ChatFormat::hh, "", "");
  Encoder encoder(tokenizer, &chat, 0);
  const Content prompt = text("q"), whole = Conversation{{"user", "q"}, {"assistant", "r"}}, answer = Conversation{{"assistant", "r"}};
  const auto expected = encoder.sequence(std::nullopt, whole, "x");
  EXPECT_EQ(encoder.sequence(prompt, whole, "x"), expected);  // UltraFeedback's form
  EXPECT_EQ(encoder.sequence(Conversation{{"user", "q"}}, answer, "x"), expected);
  EXPECT_EQ(encoder.sequence(Conversation{{"user", "q"}}, text("r"), "x"), expected);  // responses as texts
}

TEST(Encode, ConversationsNeedATemplate) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(false), "test");
  Encoder encoder(tokenizer, nullptr, 0);
  EXPECT_THROW(encoder.sequence(std::nullopt, Conversation{{"user", "q"}}, "x"), Error);
  EXPECT_THROW(encoder.sequence(std::nullopt, text(""), "x"), Error);
}

TEST(Encode, PromptsForAPolicyHaveAStartTokenAndNoEnd) {
  const Tokenizer tokenizer = Tokenizer::parse(letters_tokenizer(true), "test");
  Encoder encoder(tokenizer, nullptr, 0);
  EXPECT_EQ(encoder.prompt(text("ab"), 0, "x"), (TokenIds{1, 3, 4}));
  EXPECT_EQ(encoder.prompt(text("<s>ab"), 0, "x"), (TokenIds{1, 3, 4}));
}

}  // namespace
}  // namespace metarm
