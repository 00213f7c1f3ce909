#include "metarm/report/training_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "tests/support/temporary_folder.h"

namespace metarm {
namespace {

class TrainingRunTest : public testing::Test {
 protected:
  void write(const std::string& metrics, const std::string& config = "# metarm align\nlr = 2e-05\n") {
    write_file(folder_ / "metrics.jsonl", metrics);
    write_file(folder_ / "config.toml", config);
  }
  TrainingRun read() const { return read_training_run(folder_.path(), "run"); }
  std::string error() const {
    try {
      read();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      return error.what();
    }
    return "none";
  }
  std::string metrics_line(int line) const { return fmt::format("{}:{}: ", folder_ / "metrics.jsonl", line); }

  TemporaryFolder folder_;
};

TEST_F(TrainingRunTest, FiguresByKey) {
  write(R"({"step": 1, "time_s": 100.5, "loss": 0.7, "note": "text", "gone": null})"
        "\n"
        R"({"step": 3, "time_s": 130.5, "loss": 0.5})"
        "\n"
        R"({"step": 3, "time_s": 130.5, "eval_accuracy": 0.75})"
        "\n");
  const TrainingRun run = read();
  EXPECT_EQ(run.config.command, "align");
  EXPECT_EQ(run.steps, 3);
  EXPECT_EQ(run.last_time_s - run.first_time_s, 30);
  EXPECT_EQ(run.figures.size(), 2u);
  EXPECT_EQ(run.figures.at("loss").steps, (std::vector<std::int64_t>{1, 3}));
  EXPECT_EQ(run.figures.at("loss").values, (std::vector<double>{0.7, 0.5}));
  EXPECT_EQ(run.figures.at("eval_accuracy").steps, (std::vector<std::int64_t>{3}));
  EXPECT_FALSE(run.finished);
  write_file(folder_ / "adapter_config.json", "{}");
  EXPECT_TRUE(read().finished);
}

TEST_F(TrainingRunTest, ATornLastLineIsNoFault) {
  const std::string whole = R"({"step": 1, "loss": 0.7})";
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    write(whole + "\n" + R"({"step": 2, "loss": 0.7})" + "\n" + whole.substr(0, cut));
    EXPECT_EQ(read().steps, 2) << cut;
  }
  write("{\"step\": 1, \"loss\": 0.7}\n{\"step\": 2, \"note\": \"\xc3");  // inside a character
  EXPECT_EQ(read().steps, 1);
  write("");
  EXPECT_EQ(read().steps, 0);
}

TEST_F(TrainingRunTest, OtherFaultsNameTheirLine) {
  write("{\"step\": 1}\n{\"st\n{\"step\": 2}\n");
  EXPECT_TRUE(error().starts_with(metrics_line(2) + "expected JSON")) << error();
  write("{\"step\": 1}\n[1]\n");
  EXPECT_EQ(error(), metrics_line(2) + "expected an object, got list");
  write("{\"step\": 2}\n{\"step\": 1}\n");
  EXPECT_EQ(error(), metrics_line(2) + "step: expected at least 2, which came before, got 1");
  write("{\"step\": 2, \"loss\": 1}\n{\"step\": 2, \"loss\": 1}\n");
  EXPECT_EQ(error(), metrics_line(2) + "loss: expected once for step 2, got it again");
  write("{\"loss\": 2}\n");
  EXPECT_EQ(error(), metrics_line(1) + "step: expected a value, got no such field");
  write("{\"step\": 1.5}\n");
  EXPECT_EQ(error(), metrics_line(1) + "step: expected a whole number of at least 0, got 1.5");
  write("{\"step\": 1, \"time_s\": \"now\"}\n");
  EXPECT_EQ(error(), metrics_line(1) + "time_s: expected a number, got text");
}

TEST_F(TrainingRunTest, SettingsAsTheyAreWritten) {
  write("",
        "# metarm train\nlr = 2e-05\nshuffle = true\npairs = [\"a.jsonl\", \"b.jsonl\"]\nmodel = \"say \\\"hi\\\"\"\n[inner]\nsteps = 3\n");
  const std::vector<Setting> settings = read().config.settings;
  std::string text;
  for (const auto& [key, value] : settings) text += key + "=" + value + ";";
  EXPECT_EQ(text, "inner.steps=3;lr=2e-05;model=say \"hi\";pairs=a.jsonl, b.jsonl;shuffle=true;");
  write("", "lr = \n");
  EXPECT_TRUE(error().starts_with((folder_ / "config.toml") + ":1: expected TOML")) << error();
}

TEST_F(TrainingRunTest, TrendsAreOfAllValuesAndOfStepsAlone) {
  std::string metrics;
  for (int step = 1; step <= 4000; ++step) metrics += fmt::format("{{\"step\": {}, \"loss\": {}, \"eval_loss\": 1}}\n", step, step % 2);
  write(metrics);
  const Json json = to_json(read(), 100);
  EXPECT_EQ(json["recorded"], 4000);
  EXPECT_EQ(json["thinned"], true);
  EXPECT_LE(json["figures"]["loss"]["values"].size(), 100u);
  EXPECT_EQ(json["trends"]["loss"]["values"].size(), 100u);
  for (const Json& mean : json["trends"]["loss"]["values"]) EXPECT_DOUBLE_EQ(mean.get<double>(), 0.5);
  EXPECT_FALSE(json["trends"].contains("eval_loss"));
  EXPECT_EQ(to_json(read(), 4000)["thinned"], false);
}

}  // namespace
}  // namespace metarm
