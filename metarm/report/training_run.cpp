#include "metarm/report/training_run.h"

#include <algorithm>
#include <filesystem>

#include "metarm/base/error.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTrendValues = 40, kTrendBlocks = 100, kTrendBlock = 8;

std::string metrics_path(const std::string& folder) { return (fs::path(folder) / "metrics.jsonl").string(); }

void take_row(const JsonRow& row, TrainingRun& run) {
  const std::int64_t step = count_field(row.value, "step", row.where());
  if (step < run.steps) fail_input("{}: step: expected at least {}, which came before, got {}", row.where(), run.steps, step);
  run.steps = step;
  for (const auto& [key, value] : row.value.items()) {
    if (!value.is_number() || key == "step" || key == "time_s") continue;
    Series& series = run.figures[key];
    if (!series.steps.empty() && series.steps.back() == step)
      fail_input("{}: {}: expected once for step {}, got it again", row.where(), key, step);
    series.steps.push_back(step);
    series.values.push_back(value.get<double>());
  }
  if (row.value.contains("time_s")) {
    run.last_time_s = number_field(row.value, "time_s", row.where());
    if (run.first_time_s == 0) run.first_time_s = run.last_time_s;
  }
}

Json to_json(const Series& series) { return {{"steps", series.steps}, {"values", series.values}}; }

bool has_trend(const std::string& key, const Series& series) { return series.values.size() >= kTrendValues && !key.starts_with("eval_"); }

}  // namespace

bool is_training_run(const std::string& folder) { return fs::is_regular_file(metrics_path(folder)); }

TrainingRun read_training_run(const std::string& folder, const std::string& name) {
  TrainingRun run;
  run.name = name;
  run.config = read_config((fs::path(folder) / "config.toml").string());
  run.finished = fs::exists(fs::path(folder) / "config.json") || fs::exists(fs::path(folder) / "adapter_config.json");
  for_each_record(metrics_path(folder), [&](const JsonRow& row) { take_row(row, run); });
  return run;
}

Json to_json(const TrainingRun& run, std::size_t points) {
  Json figures = Json::object(), trends = Json::object();
  std::size_t longest = 0;
  for (const auto& [key, series] : run.figures) {
    longest = std::max(longest, series.values.size());
    figures[key] = to_json(thin(series, points));
    if (has_trend(key, series)) trends[key] = to_json(block_means(series, std::min(kTrendBlocks, series.values.size() / kTrendBlock)));
  }
  return {{"name", run.name},
          {"command", run.config.command},
          {"settings", to_json(run.config)},
          {"finished", run.finished},
          {"steps", run.steps},
          {"seconds", run.last_time_s - run.first_time_s},
          {"last_time_s", run.last_time_s},
          {"recorded", longest},
          {"thinned", longest > points},
          {"figures", figures},
          {"trends", trends}};
}

}  // namespace metarm
