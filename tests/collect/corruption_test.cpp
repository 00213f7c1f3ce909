#include "metarm/collect/corruption.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "metarm/collect/name_swap.h"
#include "metarm/collect/passages.h"
#include "metarm/data/shingles.h"

namespace metarm {
namespace {

using Texts = std::vector<std::string_view>;

TEST(Passages, Words) {
  EXPECT_EQ(list_words(" It is  4.\n"), (Texts{"It", "is", "4."}));
  EXPECT_EQ(list_words(" "), Texts{});
}

TEST(Passages, Sentences) {
  EXPECT_EQ(list_sentences(" One. Two (two!) Three? \"Four.\" Five"), (Texts{"One.", "Two (two!)", "Three?", "\"Four.\"", "Five"}));
  EXPECT_EQ(list_sentences("Buy:\n1. Milk\n2. Tea\n\nDone"), (Texts{"Buy:", "1. Milk", "2. Tea", "Done"}));
  EXPECT_EQ(list_sentences("It costs 3.5 and e.g.this"), (Texts{"It costs 3.5 and e.g.this"}));
  EXPECT_EQ(list_sentences("一。二！三"), (Texts{"一。", "二！", "三"}));
  EXPECT_EQ(list_sentences(""), Texts{});
}

TEST(Truncate, CutsTheShareOfWords) {
  EXPECT_EQ(truncate_response(" a b c d", 0.5), " a b");
  EXPECT_EQ(truncate_response(" a b c d", 0.01), " a b c");
  EXPECT_EQ(truncate_response(" a b c d", 1), " a");
  EXPECT_EQ(truncate_response("word", 0.5), std::nullopt);
}

TEST(Repeat, SaysARunTwice) {
  EXPECT_EQ(repeat_sentences("One. Two.", 1, RandomStream(1)), "One. Two. One. Two.");
  EXPECT_EQ(repeat_sentences("One.\nTwo.\n", 1, RandomStream(1)), "One.\nTwo.\nOne.\nTwo.\n");
  EXPECT_EQ(repeat_sentences(" ", 1, RandomStream(1)), std::nullopt);
  std::set<std::string> seen;
  for (std::uint64_t key = 0; key < 50; ++key) seen.insert(*repeat_sentences("A. B. C.", 0.3, RandomStream(key)));
  EXPECT_EQ(seen, (std::set<std::string>{"A. A. B. C.", "A. B. B. C.", "A. B. C. C."}));
}

TEST(Shuffle, MovesEachOfTheShare) {
  std::set<std::string> seen;
  for (std::uint64_t key = 0; key < 50; ++key) seen.insert(*shuffle_sentences("A. B.\nC.", 1, RandomStream(key)));
  EXPECT_EQ(seen, (std::set<std::string>{"B. C.\nA.", "C. A.\nB."}));  // the two orders in which none stays
  for (std::uint64_t key = 0; key < 50; ++key) {
    const std::string changed = *shuffle_sentences("A. B. C. D.", 0.5, RandomStream(key));
    const Texts sentences = list_sentences(changed);
    const Texts before{"A.", "B.", "C.", "D."};
    int moved = 0;
    for (std::size_t i = 0; i < 4; ++i) moved += sentences[i] != before[i];
    EXPECT_EQ(moved, 2) << changed;
  }
  EXPECT_EQ(shuffle_sentences("Only one.", 1, RandomStream(1)), std::nullopt);
  EXPECT_EQ(shuffle_sentences("Ha. Ha.", 1, RandomStream(1)), std::nullopt);
}

std::vector<std::string> names_in(std::string_view text) {
  std::vector<std::string> names;
  for (const FoundName& name : list_names(text)) names.emplace_back(name.kind == NameKind::name ? "" : "#").append(name.text);
  return names;
}

TEST(Names, RunsOfCapitalsWithinASentence) {
  EXPECT_EQ(names_in("We met Ada Lovelace, and I'm told (by Bob's friend) that I won 3 of 10.5."),
            (std::vector<std::string>{"Ada Lovelace", "Bob", "#3", "#10.5"}));
  EXPECT_EQ(names_in("Paris is big. Rome is old."), std::vector<std::string>{});
  EXPECT_EQ(names_in("We saw Paris, Rome and Élodie"), (std::vector<std::string>{"Paris", "Rome", "Élodie"}));
}

TEST(Names, AgainWhereASentenceBegins) {
  EXPECT_EQ(names_in("I met Anna. Anna's brother and Bob came. Rome fell."), (std::vector<std::string>{"Anna", "Anna", "Bob"}));
  EXPECT_EQ(names_in("Ada Lovelace wrote. We read Ada Lovelace.\nAda rests"), (std::vector<std::string>{"Ada Lovelace", "Ada Lovelace"}));
  EXPECT_EQ(names_in("Anna Smith met Anna. Smith left."), (std::vector<std::string>{"Anna", "Smith", "Anna", "Smith"}));
}

TEST(Names, NumbersOfListItemsAreNone) {
  EXPECT_EQ(names_in("Buy 2:\n1. Milk\n2) Tea for Bob\n3 eggs\n42."), (std::vector<std::string>{"#2", "Bob", "#3", "#42"}));
}

TEST(SwapNames, TakesOthersOfTheSameKind) {
  const NamePool pool = make_name_pool({"He lives in Rome with 12 cats.", "She lives in Rome."});
  EXPECT_EQ(pool.names, std::vector<std::string>{"Rome"});
  EXPECT_EQ(pool.numbers, std::vector<std::string>{"12"});
  EXPECT_EQ(swap_names("I know Paris and Paris's 3 rivers.", 1, pool, RandomStream(1)), "I know Rome and Rome's 12 rivers.");
  EXPECT_EQ(swap_names("I met Anna. Anna was glad, and Anna left.", 1, pool, RandomStream(1)), "I met Rome. Rome was glad, and Rome left.");
  EXPECT_EQ(swap_names("1. Milk\n2. Tea for 3", 1, pool, RandomStream(1)), "1. Milk\n2. Tea for 12");
  EXPECT_EQ(swap_names("I know Rome.", 1, pool, RandomStream(1)), std::nullopt);
  EXPECT_EQ(swap_names("nothing here", 1, pool, RandomStream(1)), std::nullopt);
}

TEST(SwapNames, ReplacesTheShare) {
  const NamePool pool{{"Rome"}, {"12"}};
  std::set<std::string> seen;
  for (std::uint64_t key = 0; key < 50; ++key) seen.insert(*swap_names("In Paris 3 live.", 0.5, pool, RandomStream(key)));
  EXPECT_EQ(seen, (std::set<std::string>{"In Rome 3 live.", "In Paris 12 live."}));
}

TEST(Shingles, Resemblance) {
  EXPECT_EQ(resemblance(list_shingles("a b c d", 2), list_shingles("A B c e", 2)), 0.5);  // ab bc of ab bc cd ce
  EXPECT_EQ(resemblance(list_shingles("a b", 3), list_shingles("a  b\n", 3)), 1);
  EXPECT_EQ(resemblance(list_shingles("a b a b", 2), list_shingles("a b", 2)), 0.5);  // ab of ab ba
  EXPECT_EQ(resemblance(list_shingles("ab c", 2), list_shingles("a bc", 2)), 0);
  EXPECT_EQ(resemblance(list_shingles("", 2), list_shingles("", 2)), 1);
}

}  // namespace
}  // namespace metarm
