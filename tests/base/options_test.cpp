#include "metarm/base/options.h"

#include <gtest/gtest.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {

enum class Colour { red, light_green };
template <>
struct EnumNames<Colour> {
  static constexpr std::pair<Colour, const char*> values[] = {{Colour::red, "red"}, {Colour::light_green, "light-green"}};
};

namespace {

struct Example {
  std::string model;
  std::int64_t max_length = 10;
  double lr = 1e-5;
  bool shuffle = true;
  Colour colour = Colour::red;
  std::vector<std::string> files;
  double alpha = 2;
  std::int64_t depth = 1;
  double beta = 2;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model", .help = "A model.", .required = true});
    visit(self.max_length, {.name = "max-length", .help = "A length.", .min = 0, .max = 100});
    visit(self.lr, {.name = "lr", .help = "A rate.", .min = 0});
    visit(self.shuffle, {.name = "shuffle", .help = "Whether."});
    visit(self.colour, {.name = "colour", .help = "Which."});
    visit(self.files, {.name = "files", .help = "Many."});
    visit(self.alpha, {.name = "alpha", .help = "Needs.", .needs = "files"});
    visit(self.depth, {.name = "depth", .help = "How deep; 0: not at all."});
    visit(self.beta, {.name = "beta", .help = "Needs.", .needs = "depth"});
  }
};

Example parse(std::vector<std::string> arguments) {
  Example example;
  parse_options("example", example, arguments);
  return example;
}

std::string error_of(std::vector<std::string> arguments) {
  try {
    parse(std::move(arguments));
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    return error.what();
  }
  return "none";
}

TEST(Options, FlagsOfEveryType) {
  const Example example = parse({"--model", "m", "--max-length=7", "--lr", "3e-4", "--shuffle", "false", "--colour", "light-green",
                                 "--files", "a", "b", "--alpha", "1"});
  EXPECT_EQ(example.model, "m");
  EXPECT_EQ(example.max_length, 7);
  EXPECT_EQ(example.lr, 3e-4);
  EXPECT_FALSE(example.shuffle);
  EXPECT_EQ(example.colour, Colour::light_green);
  EXPECT_EQ(example.files, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(parse({"--model", "m", "--shuffle"}).shuffle);
}

TEST(Options, ErrorsSayWhatWasExpected) {
  EXPECT_NE(error_of({}).find("--model"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--max-lenght", "7"}).find("--max-length"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--max-length", "seven"}).find("seven"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--max-length", "7x"}).find("7x"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--max-length", "101"}).find("100"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--lr", "nan"}).find("nan"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--colour", "blue"}).find("light-green"), std::string::npos);
  EXPECT_NE(error_of({"--model", "m", "--alpha", "3"}).find("--files"), std::string::npos);
  EXPECT_NE(error_of({"--model"}).find("--model"), std::string::npos);
}

TEST(Options, WhatIsOffMeetsNoNeed) {
  EXPECT_EQ(error_of({"--model", "m", "--depth", "2", "--beta", "3"}), "none");
  EXPECT_EQ(error_of({"--model", "m", "--beta", "3"}), "none");  // on by default
  EXPECT_NE(error_of({"--model", "m", "--depth", "0", "--beta", "3"}).find("--beta: expected --depth with it"), std::string::npos);
  EXPECT_EQ(error_of({"--model", "m", "--depth", "0"}), "none");
}

TEST(Options, FileThenFlags) {
  TemporaryFolder folder;
  write_file(folder / "c.toml", "model = \"from file\"\nmax_length = 3\nlr = 1e-2\nfiles = [\"x\"]\n");
  const Example example = parse({"--config", folder / "c.toml", "--max-length", "4"});
  EXPECT_EQ(example.model, "from file");
  EXPECT_EQ(example.max_length, 4);
  EXPECT_EQ(example.lr, 1e-2);
  EXPECT_EQ(example.files, std::vector<std::string>{"x"});
  write_file(folder / "bad.toml", "model = \"m\"\nmaxlength = 3\n");
  EXPECT_NE(error_of({"--config", folder / "bad.toml"}).find("max_length"), std::string::npos);
  write_file(folder / "type.toml", "model = \"m\"\nmax_length = \"3\"\n");
  EXPECT_NE(error_of({"--config", folder / "type.toml"}).find("max_length"), std::string::npos);
}

TEST(Options, TablesOfAFile) {
  TemporaryFolder folder;
  write_file(folder / "c.toml", "model = \"m\"\n[[stage]]\nname = \"a\"\n[[stage]]\nname = \"b\"\nlr = 1\n");
  EXPECT_NE(error_of({"--config", folder / "c.toml"}).find("c.toml:2: expected options alone, got [[stage]]"), std::string::npos);
  std::vector<Field> fields = list_fields(Example{});
  const std::vector<std::string> arguments = {"--config", folder / "c.toml"};
  const Parsed parsed = parse_fields("example", fields, arguments, "stage");
  ASSERT_EQ(parsed.tables.size(), 2U);
  EXPECT_EQ(std::get<std::string>(parsed.tables[1].entries[1].value), "b");
  EXPECT_EQ(parsed.tables[1].where, (folder / "c.toml") + ":4");
  write_file(folder / "c.toml", "model = \"m\"\n[stage]\nname = \"a\"\n");
  EXPECT_NE(error_of({"--config", folder / "c.toml"}).find("c.toml:2: expected options alone, got [[stage]]"), std::string::npos);
  fields = list_fields(Example{});
  const Parsed single = parse_fields("example", fields, arguments, "other stage");
  ASSERT_EQ(single.tables.size(), 1U);
  EXPECT_EQ(single.tables[0].where, (folder / "c.toml") + ":2");
  write_file(folder / "c.toml", "[stage]\nname = {a = 1}\n");
  EXPECT_NE(error_of({"--config", folder / "c.toml"}).find("c.toml:2: name: expected true, false, a number"), std::string::npos);
}

TEST(Options, ResolvedFileRepeatsTheOptions) {
  TemporaryFolder folder;
  const Example first =
      parse({"--model", "a \"quoted\"\n\\ name", "--lr", "0.1234567890123456789", "--files", "x", "y", "--colour", "light-green"});
  write_file(folder / "c.toml", to_toml(list_fields(first)));
  const Example second = parse({"--config", folder / "c.toml"});
  EXPECT_EQ(second.model, first.model);
  EXPECT_EQ(second.lr, first.lr);
  EXPECT_EQ(second.files, first.files);
  EXPECT_EQ(second.colour, first.colour);
}

TEST(Options, HelpAndReferenceNameEveryOption) {
  const auto fields = list_fields(Example{});
  for (const Field& field : fields) {
    EXPECT_NE(help_text("example", "does things", fields).find(std::string("--") + field.info.name), std::string::npos);
    EXPECT_NE(to_markdown("example", "does things", fields).find(std::string("--") + field.info.name), std::string::npos);
  }
}

}  // namespace
}  // namespace metarm
