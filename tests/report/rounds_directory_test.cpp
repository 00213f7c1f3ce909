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
  // `said`: what the command of the stage said with --json.
  void finish(const std::string& stage, const std::string& said) {
    write(stage + ".done.json", R"({"options": "", "figures": )" + said + R"(, "seconds": 1.5})");
  }
  RoundsDirectory read(std::int64_t samples = 10) const { return read_rounds_directory(folder_.path(), "d", samples); }
  std::string error() const {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      return error.what();
    }
    return "none";
  }
  // The error of a stage that said this, less its file and `figures: `.
  std::string error_of(const std::string& said) {
    finish("round-1/measure", said);
    const std::string where = (folder_ / "round-1/measure.done.json") + ": figures: ", what = error();
    return what.starts_with(where) ? what.substr(where.size()) : what;
  }

  TemporaryFolder folder_;
};

constexpr const char* kConfig = R"(
rounds = 3
[[stage]]
name = "responses"
command = "sample"
[[stage]]
name = "rm"
command = "align"
meta_lr = 0.5
[[stage]]
name = "own"
run = "true"
[[stage]]
name = "measure"
command = "eval"
)";

TEST_F(RoundsTest, EverythingThatARoundHas) {
  EXPECT_FALSE(is_rounds_directory(folder_.path()));
  write("config.toml", kConfig);
  EXPECT_FALSE(is_rounds_directory(folder_.path()));
  write("round-1/responses.toml", "# metarm sample\ntop_k = 5\n");
  finish("round-1/responses", R"({"prompts": 2, "output": "x"})");
  write("round-1/rm/metrics.jsonl", "{\"step\": 4, \"loss\": 1}\n");
  write("round-1/rm.toml", "# metarm align\nmeta_lr = 0.5\n");
  finish("round-1/rm", R"({"loss": 1, "eval_accuracy": 0.5, "eval_accuracy_low": 0.4, "eval_accuracy_high": 0.6})");
  finish("round-1/own", R"({"kl": 2, "list": [1]})");
  finish("round-1/measure", R"({"pairs": {"accuracy": null, "calibration": [{"confidence": 0.6, "accuracy": 0.5, "pairs": 4}]},
    "responses": {"histogram": [3, 4], "scaled_histogram_step": 0.25}, "divergence": {"k3": {"mean": 2, "standard_error": 1}}})");
  write("round-10/rm/metrics.jsonl", "");
  write("round-2/notes.txt", "no stage's");
  write("round-x/notes.txt", "the user's");
  EXPECT_TRUE(is_rounds_directory(folder_.path()));

  const RoundsDirectory directory = read();
  std::string settings;
  for (const auto& [key, value] : directory.config.settings) settings += key + "=" + value + ";";
  EXPECT_EQ(settings,
            "rounds=3;stage.responses.command=sample;stage.responses.name=responses;stage.rm.command=align;stage.rm.meta_lr=0.5;"
            "stage.rm.name=rm;stage.own.name=own;stage.own.run=true;stage.measure.command=eval;stage.measure.name=measure;");
  ASSERT_EQ(directory.rounds.size(), 3u);
  EXPECT_EQ(directory.rounds[1].number, 2);
  EXPECT_EQ(directory.rounds[2].number, 10);
  const std::vector<StageRecord>& stages = directory.rounds[0].stages;
  ASSERT_EQ(stages.size(), 4u);
  EXPECT_EQ(stages[0].command, "sample");
  EXPECT_EQ(stages[0].seconds, 1.5);
  ASSERT_EQ(stages[0].config.settings.size(), 1u);
  EXPECT_EQ(stages[0].config.settings[0].value, "5");
  EXPECT_EQ(stages[0].figures, Json::parse(R"({"prompts": {"value": 2}})"));
  EXPECT_EQ(stages[1].figures, Json::parse(R"({"loss": {"value": 1}, "eval_accuracy": {"value": 0.5, "low": 0.4, "high": 0.6}})"));
  EXPECT_TRUE(stages[1].config.settings.empty());  // its run has them
  EXPECT_EQ(stages[2].figures, Json::parse(R"({"kl": {"value": 2}})"));
  EXPECT_EQ(stages[3].histogram, Json::parse(R"({"edges": [0.0, 0.25], "counts": [3, 4]})"));
  EXPECT_EQ(stages[3].calibration.size(), 1u);
  EXPECT_TRUE(stages[2].histogram.is_null());
  EXPECT_EQ(stages[3].figures["divergence.k3"]["value"], 2.0);
  EXPECT_NEAR(stages[3].figures["divergence.k3"]["high"].get<double>(), 3.96, 0.001);
  EXPECT_FALSE(directory.rounds[1].stages[0].finished);
  ASSERT_EQ(directory.runs.size(), 2u);
  EXPECT_EQ(directory.runs[0].name, "round-1/rm");
  EXPECT_EQ(directory.runs[1].name, "round-10/rm");
}

TEST_F(RoundsTest, ResponsesHaveTheRewardsOfTheLastStageThatScoredThem) {
  write("config.toml", kConfig);
  write("round-1/responses.jsonl", R"({"prompt": "p", "responses": ["a", "b"]})"
                                   "\n"
                                   R"({"prompt": "q", "responses": ["c"]})"
                                   "\n"
                                   R"({"prompt": "q", "responses": ["c"]})"
                                   "\n");
  write("round-1/measure/prompts.jsonl", R"({"prompt": "q", "responses": ["c"], "rewards": [2]})"
                                         "\n"
                                         R"({"prompt": "q", "responses": ["other"], "rewards": [3]})"
                                         "\n"
                                         R"({"prompt": "p", "responses": ["a", "b"], "rewards": [1, null]})"
                                         "\n");
  const auto samples = [&](std::int64_t limit) { return read(limit).rounds[0].samples; };
  const std::vector<Samples> all = samples(10);
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].stage, "responses");
  EXPECT_EQ(all[0].scored_by, "measure");
  EXPECT_EQ(all[0].total, 3);
  EXPECT_EQ(all[0].groups[0].rewards[0], 1.0);
  EXPECT_EQ(all[0].groups[1].rewards, std::vector<double>{2});
  EXPECT_EQ(all[1].stage, "measure");
  EXPECT_EQ(all[1].total, 1);
  EXPECT_EQ(samples(1)[0].groups.size(), 1u);
  EXPECT_EQ(samples(1)[0].total, 3);
  EXPECT_EQ(samples(1)[1].groups.size(), 1u);  // not the q that the limit left out
  EXPECT_TRUE(samples(0).empty());
}

TEST_F(RoundsTest, FaultsNameFileAndField) {
  write("round-1/notes.txt", "");
  write("config.toml", "[[stage]]\ncommand = \"eval\"\n");
  EXPECT_EQ(error(), (folder_ / "config.toml") + ":1: name: expected one for the stage, got none");
  write("config.toml", kConfig);
  EXPECT_EQ(error(), "none");
  EXPECT_EQ(error_of("[1]"), "expected an object, got list");
  EXPECT_EQ(error_of(R"({"responses": {"histogram": [1]}})"), "responses: scaled_histogram_step: expected a value, got no such field");
  EXPECT_EQ(error_of(R"({"responses": {"histogram": ["x"]}})"), "responses: histogram: expected a list of numbers, got [\"x\"]");
  EXPECT_EQ(error_of(R"({"pairs": {"calibration": 3}})"), "pairs: calibration: expected a list of bins, got number");
  EXPECT_EQ(error_of(R"({"pairs": {"calibration": [{"accuracy": 1}]}})"),
            "pairs: calibration: confidence: expected a value, got no such field");
  write("round-1/measure.done.json", "{}");
  EXPECT_EQ(error(), (folder_ / "round-1/measure.done.json") + ": figures: expected a value, got no such field");
  finish("round-1/measure", "{}");
  write("round-1/responses.jsonl", "{\"prompt\": \"p\", \"responses\": 1}\n");
  EXPECT_EQ(error(), (folder_ / "round-1/responses.jsonl") + ":1: responses: expected a list, got number");
}

}  // namespace
}  // namespace metarm
