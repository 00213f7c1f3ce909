// A tuning for people: the best trial, the table of trials, and what each option did.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "metarm/tune/tuning_result.h"

namespace metarm {

namespace {

constexpr std::size_t kShownTrials = 10;

using Row = std::vector<std::string>;

// Columns two spaces apart, the first line their names.
std::string table(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size(), 0);
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text = "\n";
  for (const Row& row : rows) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) line += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += "\n  " + line.substr(0, line.find_last_not_of(' ') + 1);
  }
  return text;
}

std::string number_text(double value) {
  return std::isnan(value) ? "-" : fmt::format("{:.2f}", std::round(100 * value) / 100 + 0.0);  // what rounds to 0 has no sign
}

std::string values_text(const TuningResult& result, const Trial& trial) {
  std::vector<std::string> values;
  for (std::size_t i = 0; i < result.ranges.size(); ++i)
    values.push_back(fmt::format("{} {}", result.ranges[i].option, value_text(trial.values[i])));
  return fmt::to_string(fmt::join(values, ", "));
}

Row trial_cells(const TuningResult& result, const TrialRecord& record) {
  const std::optional<std::size_t> rung = last_good_rung(record);
  Row row = {fmt::to_string(record.rank), fmt::to_string(record.trial.number), fmt::to_string(rung ? result.rungs[*rung].steps : 0),
             rung ? fmt::format("{:.5g}", *record.rungs[*rung].figure) : "failed"};
  for (const ConfigValue& value : record.trial.values) row.push_back(value_text(value));
  return row;
}

std::string trials_text(const TuningResult& result) {
  Row names = {"rank", "trial", "steps", result.figure};
  for (const Range& range : result.ranges) names.push_back(range.option);
  std::vector<Row> rows(std::min(result.trials.size(), kShownTrials) + 1);
  rows[0] = names;
  for (const TrialRecord& record : result.trials)
    if (static_cast<std::size_t>(record.rank) < rows.size()) rows[static_cast<std::size_t>(record.rank)] = trial_cells(result, record);
  return table(rows);
}

// "0.001 to 0.01: 0.52"
std::string level_text(const Level& level) {
  const std::string from = value_text(level.from), to = value_text(level.to);
  return fmt::format("{}: {}", from == to ? from : fmt::format("{} to {}", from, to),
                     std::isnan(level.median) ? "failed" : fmt::format("{:.4g}", level.median));
}

std::string sensitivity_text(const TuningResult& result) {
  std::vector<Row> rows = {{"option", "share", "by chance", "p", "rank correlation", "by chance", "median " + result.figure}};
  for (const OptionSensitivity& option : result.sensitivity) {
    const Sensitivity& found = option.sensitivity;
    std::vector<std::string> levels;
    for (const Level& level : option.levels) levels.push_back(level_text(level));
    rows.push_back({option.option, number_text(found.share), "to " + number_text(found.chance_share),
                    std::isnan(found.p) ? "-" : fmt::format("{:.2g}", found.p), option.is_number ? number_text(found.rank_correlation) : "",
                    option.is_number ? fmt::format("{} to {}", number_text(found.chance_low), number_text(found.chance_high)) : "",
                    fmt::to_string(fmt::join(levels, "; "))});
  }
  return fmt::format(
      "\n\nWhat the options did in the first rung, {} trials of {} steps. Share: of the variance of the ranks of {}, beyond chance.{}",
      result.trials.size(), result.rungs.front().steps, result.figure, table(rows));
}

}  // namespace

std::string plan_text(const std::vector<Rung>& rungs) {
  std::vector<std::string> parts;
  for (const Rung& rung : rungs)
    parts.push_back(fmt::format("{}{} to {}{}", rung.trials, parts.empty() ? (rung.trials == 1 ? " trial" : " trials") : "", rung.steps,
                                parts.empty() ? " steps" : ""));
  return fmt::format("{}: {} steps in all", fmt::join(parts, ", "), total_steps(rungs));
}

std::string to_text(const TuningResult& result) {
  const TrialRecord& best = result.best();
  const std::size_t rung = *last_good_rung(best);
  std::string text =
      fmt::format("{}: the best of {} trials is {}, {} {:.5g} at step {}: {}", result.output, result.trials.size(), best.trial.number,
                  result.figure, *best.rungs[rung].figure, result.rungs[rung].steps, values_text(result, best.trial));
  for (const TrialRecord& record : result.trials)
    if (!record.rungs.back().figure) text += fmt::format("\n  trial {} failed: {}", record.trial.number, record.rungs.back().failure);
  text += trials_text(result);
  return result.sensitivity.empty() ? text : text + sensitivity_text(result);
}

}  // namespace metarm
