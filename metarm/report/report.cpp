#include "metarm/report/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/report/explanation_file.h"
#include "metarm/report/page.h"
#include "metarm/report/rounds_directory.h"
#include "metarm/report/training_run.h"
#include "metarm/report/tuning_directory.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPoints = 1000;  // of a figure on the page

void check_runs(const std::vector<std::string>& folders) {
  std::set<fs::path> seen;
  for (const std::string& folder : folders) {
    const bool exists = fs::is_directory(folder);
    const bool shown =
        exists ? is_training_run(folder) || is_rounds_directory(folder) || is_tuning_directory(folder) : is_explanation_file(folder);
    if (!shown)
      fail_input("{}: expected a run directory, with metrics.jsonl, a round-1 or a tuning.json, or a file of `metarm explain`, got {}",
                 folder,
                 exists               ? "a folder without"
                 : fs::exists(folder) ? "another file"
                                      : "no such folder");
    if (!seen.insert(fs::canonical(folder)).second) fail_input("{}: expected each run directory once, got it twice", folder);
  }
}

// The folders' own names where these differ, else the paths as given.
std::vector<std::string> name_runs(const std::vector<std::string>& folders) {
  std::vector<std::string> names;
  std::map<std::string, int> count;
  for (const std::string& folder : folders) {
    names.push_back(fs::canonical(folder).filename().string());
    ++count[names.back()];
  }
  for (std::size_t i = 0; i < names.size(); ++i)
    if (count[names[i]] > 1) names[i] = folders[i];
  return names;
}

}  // namespace

ReportSummary write_report(const ReportOptions& options) {
  check_runs(options.runs);
  const std::vector<std::string> names = name_runs(options.runs);
  const auto count_rounds = std::ranges::count_if(options.runs, is_rounds_directory);
  ReportSummary summary;
  Json runs = Json::array(), rounds = Json::array(), tunings = Json::array(), explanations = Json::array();
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!fs::is_directory(options.runs[i])) {
      explanations.push_back(read_explanation_file(options.runs[i], names[i], options.samples));
      continue;
    }
    if (is_tuning_directory(options.runs[i])) {
      tunings.push_back(read_tuning_directory(options.runs[i], names[i]));
      continue;
    }
    if (!is_rounds_directory(options.runs[i])) {
      runs.push_back(to_json(read_training_run(options.runs[i], names[i]), kPoints));
      continue;
    }
    RoundsDirectory directory = read_rounds_directory(options.runs[i], names[i], options.samples);
    for (TrainingRun& run : directory.runs) {
      if (count_rounds > 1) run.name = names[i] + "/" + run.name;
      runs.push_back(to_json(run, kPoints));
    }
    for (const Round& round : directory.rounds)
      for (const Samples& some : round.samples) summary.response_groups += static_cast<std::int64_t>(some.groups.size());
    summary.rounds += static_cast<std::int64_t>(directory.rounds.size());
    rounds.push_back(to_json(directory));
  }
  summary.runs = static_cast<std::int64_t>(runs.size());
  summary.tunings = static_cast<std::int64_t>(tunings.size());
  summary.explanations = static_cast<std::int64_t>(explanations.size());
  const std::string page = make_page({{"runs", runs}, {"rounds", rounds}, {"tunings", tunings}, {"explanations", explanations}});
  write_file(options.output, page);
  summary.bytes = static_cast<std::int64_t>(page.size());
  return summary;
}

}  // namespace metarm
