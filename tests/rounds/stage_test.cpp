#include "metarm/rounds/stage.h"

#include <gtest/gtest.h>

#include "tests/support/error_of.h"

namespace metarm {
namespace {

const Placeholders kKnown = {.values = {{"policy", "runs/a policy"}, {"round", "2"}, {"output", "out"}},
                             .all = {{"drawn", {"round-1/drawn.jsonl", "round 2/drawn.jsonl"}}}};

TEST(Placeholders, AreFilledIn) {
  EXPECT_EQ(fill_in("{policy}/x-{round}", kKnown, "w"), "runs/a policy/x-2");
  EXPECT_EQ(fill_in("no {{round}} here", kKnown, "w"), "no {round} here");
  EXPECT_EQ(fill_in("", kKnown, "w"), "");
  EXPECT_EQ(fill_in("{round}", {.values = {{"round", "{policy}"}}, .all = {}}, "w"), "{policy}");  // what is filled in is not read again
}

TEST(Placeholders, AreWordsOfAShellsLine) {
  EXPECT_EQ(fill_in("ppo {policy}", kKnown, "w", true), "ppo 'runs/a policy'");
  EXPECT_EQ(fill_in("{name}", {.values = {{"name", "it's"}}, .all = {}}, "w", true), "'it'\\''s'");
}

TEST(Placeholders, ThatStandForSeveral) {
  EXPECT_EQ(fill_in("cat {drawn:all}", kKnown, "w", true), "cat 'round-1/drawn.jsonl' 'round 2/drawn.jsonl'");
  EXPECT_NE(error_of([] { fill_in("{drawn:all}", kKnown, "w"); }).find("alone in a list"), std::string::npos);
  EXPECT_NE(error_of([] { fill_in("{rm:all}", kKnown, "w"); }).find("got {rm:all}"), std::string::npos);
}

TEST(Placeholders, UnknownOrBrokenOnesAreErrors) {
  EXPECT_EQ(error_of([] { fill_in("{rm}", kKnown, "f:3: model"); }),
            "f:3: model: expected one of {output}, {policy}, {round}, {drawn:all}, got {rm}");
  EXPECT_NE(error_of([] { fill_in("{policy", kKnown, "w"); }).find("nothing closes"), std::string::npos);
  EXPECT_NE(error_of([] { fill_in("policy}", kKnown, "w"); }).find("nothing opens"), std::string::npos);
}

// A command `align` with an output folder, one `sample` with a file, and one `eval` that leaves nothing.
StageCommands commands() {
  return {{"align", "sample", "eval"},
          [](const std::string& name) {
            std::vector<Field> fields = {{{.name = "model", .help = "", .required = true}, std::string()},
                                         {{.name = "seed", .help = ""}, std::int64_t{0}},
                                         {{.name = "json", .help = ""}, false}};
            if (name != "eval") fields.push_back({{.name = "output", .help = "", .required = true}, std::string()});
            if (name == "align") fields.push_back({{.name = "resume", .help = ""}, false});
            return fields;
          },
          [](const std::string& name) { return std::string(name == "sample" ? ".jsonl" : ""); }};
}

ConfigTable table(std::vector<std::pair<std::string, ConfigValue>> entries) {
  ConfigTable made{"rounds.toml:7", {}};
  for (auto& [key, value] : entries) made.entries.push_back({key, "rounds.toml:8: " + key, std::move(value)});
  return made;
}

TEST(Stages, GetWhatTheRoundsChoose) {
  const std::vector<Stage> stages = read_stages({table({{"name", "rm"}, {"command", "align"}, {"model", "{policy}"}})}, commands());
  ASSERT_EQ(stages.size(), 1U);
  EXPECT_EQ(stages[0].makes, "rm");
  EXPECT_EQ(output_name(stages[0]), "rm");
  EXPECT_EQ(to_toml(resolve_options(stages[0], kKnown, 5, false)),
            "model = \"runs/a policy\"\nseed = 5\njson = true\noutput = \"out\"\nresume = true\n");
}

TEST(Stages, KeepASeedOfTheirOwn) {
  const Stage stage = read_stages({table({{"name", "s"}, {"command", "eval"}, {"model", "m"}, {"seed", std::int64_t{9}}})}, commands())[0];
  EXPECT_EQ(to_toml(resolve_options(stage, kKnown, 5, false)), "model = \"m\"\nseed = 9\njson = true\n");
}

TEST(Stages, NumbersMayBePlaceholders) {
  const auto seed = [](const char* value) {
    return to_toml(resolve_options(
        read_stages({table({{"name", "s"}, {"command", "eval"}, {"model", "m"}, {"seed", value}})}, commands())[0], kKnown, 5, false));
  };
  EXPECT_NE(seed("{round}").find("seed = 2\n"), std::string::npos);
  EXPECT_NE(error_of([&] { seed("{policy}"); }).find("expected a whole number, got text"), std::string::npos);
}

TEST(Stages, LeaveFoldersOrRows) {
  const auto name_of = [](const char* command) {
    return output_name(read_stages({table({{"name", "x"}, {"command", command}, {"model", "m"}})}, commands())[0]);
  };
  EXPECT_EQ(name_of("align"), "x");
  EXPECT_EQ(name_of("sample"), "x.jsonl");
}

TEST(Stages, OfTrainingsGoOnWithWhatTheyLeft) {
  const auto goes_on = [](std::vector<std::pair<std::string, ConfigValue>> entries) {
    return is_resumable(read_stages({table(std::move(entries))}, commands())[0]);
  };
  EXPECT_TRUE(goes_on({{"name", "x"}, {"command", "align"}, {"model", "m"}}));
  EXPECT_FALSE(goes_on({{"name", "x"}, {"command", "sample"}, {"model", "m"}}));
  EXPECT_FALSE(goes_on({{"name", "x"}, {"run", "true"}}));
}

TEST(Stages, ThatCannotRunAreErrors) {
  const auto error = [](std::vector<std::pair<std::string, ConfigValue>> entries) {
    return error_of([&] { read_stages({table(entries)}, commands()); });
  };
  EXPECT_NE(error({{"command", "eval"}}).find("rounds.toml:7: name: expected one"), std::string::npos);
  EXPECT_NE(error({{"name", "a b"}, {"command", "eval"}}).find("got 'a b'"), std::string::npos);
  EXPECT_NE(error({{"name", "a"}}).find("expected either command, one of align, sample, eval, or run"), std::string::npos);
  EXPECT_NE(error({{"name", "a"}, {"command", "alin"}}).find("got 'alin'"), std::string::npos);
  EXPECT_NE(error({{"name", "a"}, {"run", "x"}, {"model", "m"}}).find("expected no options beside run"), std::string::npos);
  EXPECT_NE(error({{"name", "round"}, {"run", "x"}}).find("got 'round'"), std::string::npos);
  EXPECT_NE(error({{"name", "a"}, {"command", "eval"}, {"makes", "rm"}}).find("leaves a model"), std::string::npos);
  EXPECT_NE(error({{"name", "a"}, {"command", "align"}, {"output", "x"}}).find("the rounds choose it"), std::string::npos);
  const ConfigTable twice = table({{"name", "a"}, {"command", "eval"}});
  EXPECT_NE(error_of([&] { read_stages({twice, twice}, commands()); }).find("a second time"), std::string::npos);
}

}  // namespace
}  // namespace metarm
