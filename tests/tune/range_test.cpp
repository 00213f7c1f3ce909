#include "metarm/tune/range.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "tests/support/error_of.h"

namespace metarm {
namespace {

using Entries = std::vector<std::pair<std::string, ConfigValue>>;

ConfigTable table(const Entries& entries) {
  ConfigTable made{"t.toml:7", {}};
  for (const auto& [key, value] : entries) made.entries.push_back({key, "t.toml:8: " + key, value});
  return made;
}

std::vector<Range> ranges(const Entries& entries) { return read_ranges({table(entries)}); }

const Entries kLr = {{"option", "lr"}, {"low", 1e-4}, {"high", 1e-1}, {"scale", "log"}};

TEST(Ranges, AreCoveredEvenly) {
  std::set<int> parts;
  for (const TrialValues& values : draw_trials(ranges(kLr), 30, 5)) {
    const double lr = std::get<double>(values[0]);
    EXPECT_GE(lr, 1e-4);
    EXPECT_LE(lr, 1e-1);
    parts.insert(static_cast<int>(std::floor((std::log10(lr) + 4) / 3 * 30 * (1 - 1e-6))));
  }
  EXPECT_GE(parts.size(), 29U);  // each thirtieth of the exponents has its trial; four digits may move one over an edge
}

TEST(Ranges, AreFunctionsOfTheSeed) {
  EXPECT_EQ(draw_trials(ranges(kLr), 5, 1), draw_trials(ranges(kLr), 5, 1));
  EXPECT_NE(draw_trials(ranges(kLr), 5, 1), draw_trials(ranges(kLr), 5, 2));
}

TEST(Ranges, OfWholeNumbersReachBothEnds) {
  for (const char* scale : {"linear", "log"}) {
    std::set<std::int64_t> seen;
    for (const TrialValues& values :
         draw_trials(ranges({{"option", "batch-size"}, {"low", std::int64_t{1}}, {"high", std::int64_t{4}}, {"scale", scale}}), 40, 0))
      seen.insert(std::get<std::int64_t>(values[0]));
    EXPECT_EQ(seen, (std::set<std::int64_t>{1, 2, 3, 4})) << scale;
  }
}

TEST(Ranges, OfChoicesAreBalanced) {
  int first = 0;
  for (const TrialValues& values : draw_trials(ranges({{"option", "x"}, {"choices", std::vector<std::string>{"a", "b"}}}), 20, 3))
    first += std::get<std::string>(values[0]) == "a";
  EXPECT_EQ(first, 10);
}

TEST(Ranges, AreOfTheOptionsType) {
  Range choice = ranges({{"option", "n"}, {"choices", std::vector<std::string>{"8", "16"}}})[0];
  fit_range(choice, {{.name = "n", .help = ""}, std::int64_t{0}});
  EXPECT_EQ(std::get<std::int64_t>(choice.choices[1]), 16);
  Range real = ranges({{"option", "x"}, {"low", std::int64_t{0}}, {"high", std::int64_t{1}}})[0];
  fit_range(real, {{.name = "x", .help = ""}, 0.5});
  EXPECT_TRUE(std::holds_alternative<double>(draw_trials({real}, 1, 0)[0][0]));
  Range whole = ranges({{"option", "x"}, {"low", 0.5}, {"high", std::int64_t{1}}})[0];
  EXPECT_NE(error_of([&] {
              fit_range(whole, {{.name = "x", .help = ""}, std::int64_t{0}});
            }).find("t.toml:7: x: expected low and high to be whole"),
            std::string::npos);
  EXPECT_NE(error_of([&] {
              fit_range(real, {{.name = "x", .help = ""}, std::string()});
            }).find("the option is no number"),
            std::string::npos);
}

TEST(Ranges, ThatAreNoneAreErrors) {
  const auto error = [](const Entries& entries) { return error_of([&] { ranges(entries); }); };
  EXPECT_EQ(error({{"low", 1.0}}), "t.toml:7: option: expected the name of one, got none");
  EXPECT_NE(error({{"option", "x"}, {"low", 1.0}}).find("t.toml:7: x: expected low and high, or choices"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"low", 2.0}, {"high", 1.0}}).find("low below high, got 2 and 1"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"low", 0.0}, {"high", 1.0}, {"scale", "log"}}).find("low above 0 with scale log"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"low", "a"}, {"high", 1.0}}).find("t.toml:8: low: expected a finite number"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"scale", "logg"}}).find("t.toml:8: scale: expected linear or log, got 'logg'"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"lo", 1.0}}).find("t.toml:8: lo: expected option, low"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"choices", std::vector<std::string>{"a"}}}).find("two texts at least"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"choices", std::vector<std::string>{"a", "a"}}}).find("got 'a' twice"), std::string::npos);
  EXPECT_NE(error({{"option", "x"}, {"choices", std::vector<std::string>{"a", "b"}}, {"low", 1.0}}).find("got both"), std::string::npos);
  EXPECT_NE(error_of([] { read_ranges({table(kLr), table(kLr)}); }).find("expected one range for lr, got two"), std::string::npos);
}

}  // namespace
}  // namespace metarm
