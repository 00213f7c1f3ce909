#include "metarm/report/rounds_directory.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

namespace fs = std::filesystem;

class RoundsTest : public testing::Test {
 protected:
  void write(const std::string& name, const std::string& text) {
    fs::create_directories(fs::path(folder_ / name).parent_path());
    write_file(folder_ / name, text);
  }
  RoundsDirectory read(std::int64_t samples = 10) const { return read_rounds_directory(folder_.path(), "d", samples); }
  // The error of a rounds.jsonl with this line alone, less its `file:1: `.
  std::string error_of(const std::string& line) {
    write("rounds.jsonl", line + "\n");
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      const std::string where = (folder_ / "rounds.jsonl") + ":1: ";
      EXPECT_TRUE(std::string(error.what()).starts_with(where)) << error.what();
      return std::string(error.what()).substr(where.size());
    }
    return "none";
  }

  TemporaryFolder folder_;
};

TEST_F(RoundsTest, EverythingThatARoundHas) {
  EXPECT_FALSE(is_rounds_directory(folder_.path()));
  write("config.toml", "# metarm rounds\nrounds = 3\n");
  write("rounds.jsonl", R"({"round": 1, "figures": {"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}, "kl": 2, "win": null},
 "histogram": null, "calibration": [{"confidence": 0.6, "accuracy": 0.5, "pairs": 4}], "seconds": 3})");
  std::string one_line = read_file(folder_ / "rounds.jsonl");
  std::erase(one_line, '\n');
  write("rounds.jsonl", one_line + "\n{\"round\": 2, \"fig");
  write("round-1/rm/metrics.jsonl", "{\"step\": 4, \"loss\": 1}\n");
  write("round-1/policy/metrics.jsonl", "{\"step\": 5, \"kl\": 1}\n");
  write("round-1/judge.json", R"({"win": 0.5, "win_low": 0.4, "win_high": 0.6, "tie": 0.25, "lose": 0.25, "seconds": 9})");
  write("round-1/responses.jsonl", R"({"prompt": "p", "responses": ["a", "b"], "rewards": [1, null]})"
                                   "\n"
                                   R"({"prompt": "q", "responses": ["c"]})"
                                   "\n");
  write("round-10/rm/metrics.jsonl", "");
  write("round-2/responses.jsonl", "{\"prompt\": \"p\", \"responses\": [\"a\"]}\n");
  write("round-x/notes.txt", "the user's");
  EXPECT_TRUE(is_rounds_directory(folder_.path()));

  const RoundsDirectory directory = read(1);
  EXPECT_EQ(directory.config.command, "rounds");
  ASSERT_EQ(directory.rounds.size(), 3u);
  EXPECT_EQ(directory.rounds[2].number, 10);
  const Round& round = directory.rounds[0];
  EXPECT_EQ(round.figures, Json::parse(R"({"accuracy": {"value": 0.7, "low": 0.6, "high": 0.8}, "kl": {"value": 2},
    "win": {"value": 0.5, "low": 0.4, "high": 0.6}, "tie": {"value": 0.25}, "lose": {"value": 0.25}})"));
  EXPECT_TRUE(round.histogram.is_null());
  EXPECT_EQ(round.calibration.size(), 1u);
  EXPECT_EQ(round.samples.total, 2);
  ASSERT_EQ(round.samples.groups.size(), 1u);
  EXPECT_EQ(directory.rounds[1].figures, Json::object());
  ASSERT_EQ(directory.runs.size(), 3u);
  EXPECT_EQ(directory.runs[0].name, "round-1/rm");
  EXPECT_EQ(directory.runs[1].name, "round-1/policy");
  EXPECT_EQ(directory.runs[2].name, "round-10/rm");
  EXPECT_EQ(read(0).rounds[0].samples.groups.size(), 0u);
}

TEST_F(RoundsTest, WhatTheRecordSaysStandsBeforeTheJudge) {
  write("rounds.jsonl", R"({"round": 1, "figures": {"win": 0.9}})"
                        "\n");
  write("round-1/judge.json", R"({"win": 0.5})");
  EXPECT_EQ(read().rounds[0].figures["win"]["value"], 0.9);
}

TEST_F(RoundsTest, HistogramsWithAnOpenOrAClosedLastBin) {
  for (const char* edges : {"[0, 1]", "[0, 1, 2]"}) {
    write("rounds.jsonl", std::string(R"({"round": 1, "figures": {}, "histogram": {"edges": )") + edges + R"(, "counts": [3, 4]}})" + "\n");
    EXPECT_EQ(read().rounds[0].histogram["edges"], Json::parse(edges));
  }
}

TEST_F(RoundsTest, FaultsNameLineAndField) {
  EXPECT_EQ(error_of(R"({"figures": {}})"), "round: expected a value, got no such field");
  EXPECT_EQ(error_of(R"({"round": -1, "figures": {}})"), "round: expected a whole number of at least 0, got -1");
  EXPECT_EQ(error_of(R"({"round": 1})"), "figures: expected a value, got no such field");
  EXPECT_EQ(error_of(R"({"round": 1, "figures": [1]})"), "figures: expected an object of figures, got list");
  EXPECT_EQ(error_of(R"({"round": 1, "figures": {"kl": "2"}})"), "figures: kl: expected a number or {value, low, high}, got text");
  EXPECT_EQ(error_of(R"({"round": 1, "figures": {"kl": {"value": 2, "low": 1}}})"),
            "figures: kl: high: expected a value, got no such field");
  const auto with_histogram = [](const char* histogram) {
    return std::string(R"({"round": 1, "figures": {}, "histogram": )") + histogram + "}";
  };
  EXPECT_EQ(error_of(with_histogram(R"({"edges": [0, 1]})")), "histogram: counts: expected a value, got no such field");
  EXPECT_EQ(error_of(with_histogram(R"({"edges": [0, 1, 2, 3], "counts": [1, 2]})")),
            "histogram: edges: expected one a count, and one more where the last bin is closed, got 4 for 2 counts");
  EXPECT_EQ(error_of(with_histogram(R"({"edges": [1, 0], "counts": [1, 2]})")),
            "histogram: edges: expected ascending numbers, got 0 after 1");
  EXPECT_EQ(error_of(with_histogram(R"({"edges": [0, "x"], "counts": [1, 2]})")), "histogram: edges: expected numbers, got text");
  EXPECT_EQ(error_of(R"({"round": 1, "figures": {}, "calibration": [{"accuracy": 1}]})"),
            "calibration: confidence: expected a value, got no such field");
  write("rounds.jsonl", "{\"round\": 1, \"figures\": {}}\n{\"round\": 1, \"figures\": {}}\n");
  EXPECT_THROW(read(), Error);
}

TEST_F(RoundsTest, BadResponsesNameTheirLine) {
  write("round-1/responses.jsonl", "{\"prompt\": \"p\"}\n");
  try {
    read();
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), (folder_ / "round-1/responses.jsonl") + ":1: responses: expected a value, got no such field");
  }
}

}  // namespace
}  // namespace metarm
