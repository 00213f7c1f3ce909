#include "metarm/tune/tuning_result.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace metarm {

namespace {

constexpr std::size_t kLeastForSensitivity = 3;
constexpr std::size_t kThirds = 3;

double number_of(const ConfigValue& value) {
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return static_cast<double>(*whole);
  return std::get<double>(value);
}

Json json_of(const ConfigValue& value) {
  return std::visit([](const auto& held) { return Json(held); }, value);
}

// Trials by number, in groups of levels.
using Groups = std::vector<std::vector<std::size_t>>;

Groups thirds(const std::vector<TrialRecord>& trials, std::size_t range) {
  std::vector<std::size_t> order(trials.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, {}, [&](std::size_t i) { return number_of(trials[i].trial.values[range]); });
  Groups groups(kThirds);
  for (std::size_t i = 0; i < order.size(); ++i) groups[i * kThirds / order.size()].push_back(order[i]);
  return groups;
}

Groups by_choice(const std::vector<TrialRecord>& trials, std::size_t range, const std::vector<ConfigValue>& choices) {
  Groups groups(choices.size());
  for (std::size_t i = 0; i < trials.size(); ++i)
    groups[static_cast<std::size_t>(std::ranges::find(choices, trials[i].trial.values[range]) - choices.begin())].push_back(i);
  std::erase_if(groups, [](const auto& group) { return group.empty(); });
  return groups;
}

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

Level level_of(const std::vector<TrialRecord>& trials, std::size_t range, const std::vector<std::size_t>& group) {
  Level level{trials[group.front()].trial.values[range], trials[group.back()].trial.values[range], 0, 0, 0};
  std::vector<double> figures;
  for (const std::size_t i : group) {
    const std::optional<double>& figure = trials[i].rungs.front().figure;
    ++level.trials;
    if (figure)
      figures.push_back(*figure);
    else
      ++level.failed;
  }
  level.median = median(std::move(figures));
  return level;
}

OptionSensitivity measure(const TuningResult& result, std::size_t range, const std::vector<double>& goodness, std::uint64_t seed) {
  const Range& of = result.ranges[range];
  const Groups groups = is_ordered(of) ? thirds(result.trials, range) : by_choice(result.trials, range, of.choices);
  OptionSensitivity found{of.option, is_ordered(of), {}, {}};
  for (const std::vector<std::size_t>& group : groups) found.levels.push_back(level_of(result.trials, range, group));
  if (found.is_number) {
    std::vector<double> values;
    for (const TrialRecord& record : result.trials) values.push_back(number_of(record.trial.values[range]));
    found.sensitivity = sensitivity_to_number(values, goodness, seed);
  } else {
    std::vector<std::int64_t> choices(goodness.size());
    for (std::size_t i = 0; i < groups.size(); ++i)
      for (const std::size_t trial : groups[i]) choices[trial] = static_cast<std::int64_t>(i);
    found.sensitivity = sensitivity_to_choice(choices, goodness, seed);
  }
  return found;
}

// {"from": 1, "to": 4, "trials": 3, "failed": 0, "median": 0.5}
Json level_json(const Level& level) {
  return {{"from", json_of(level.from)},
          {"to", json_of(level.to)},
          {"trials", level.trials},
          {"failed", level.failed},
          {"median", std::isnan(level.median) ? Json() : Json(level.median)}};
}

Json sensitivity_json(const OptionSensitivity& option, const Range& range) {
  Json json = to_json(option.sensitivity);
  json["option"] = option.option;
  json["kind"] = !option.is_number ? "choice" : range.log ? "log" : "linear";
  for (const Level& level : option.levels) json["levels"].push_back(level_json(level));
  return json;
}

Json options_json(const TuningResult& result, const Trial& trial) {
  Json options = Json::object();
  for (std::size_t i = 0; i < result.ranges.size(); ++i) options[result.ranges[i].option] = json_of(trial.values[i]);
  return options;
}

}  // namespace

std::optional<std::size_t> last_good_rung(const TrialRecord& record) {
  for (std::size_t rung = record.rungs.size(); rung > 0; --rung)
    if (record.rungs[rung - 1].figure) return rung - 1;
  return std::nullopt;
}

const TrialRecord& TuningResult::best() const { return *std::ranges::find(trials, 1, &TrialRecord::rank); }

void rank_trials(TuningResult& result) {
  std::int64_t rank = 0;
  for (std::size_t left = result.rungs.size() + 1; left > 0;
       --left) {  // those that came furthest first, those that never had a figure last
    std::vector<RungResult> results;
    for (const TrialRecord& record : result.trials) {
      const std::optional<std::size_t> rung = last_good_rung(record);
      if ((rung ? *rung + 1 : 0) + 1 != left) continue;
      results.push_back({record.trial.number, rung ? record.rungs[*rung].figure : std::nullopt});
    }
    sort_by_figure(results, result.goal);
    for (const RungResult& ranked : results) result.trials[static_cast<std::size_t>(ranked.trial - 1)].rank = ++rank;
  }
}

void measure_sensitivity(TuningResult& result, std::uint64_t seed) {
  result.sensitivity.clear();
  if (result.trials.size() < kLeastForSensitivity) return;
  std::vector<double> goodness;
  for (const TrialRecord& record : result.trials) {
    const std::optional<double>& figure = record.rungs.front().figure;
    goodness.push_back(figure ? (result.goal == Goal::maximise ? *figure : -*figure) : -std::numeric_limits<double>::infinity());
  }
  for (std::size_t i = 0; i < result.ranges.size(); ++i) result.sensitivity.push_back(measure(result, i, goodness, seed));
  std::ranges::stable_sort(result.sensitivity, std::ranges::greater(), [](const OptionSensitivity& option) {
    return std::isnan(option.sensitivity.share) ? -1 : option.sensitivity.share;
  });
}

Json trial_row(const TuningResult& result, const TrialRecord& record) {
  Json rungs = Json::array();
  for (std::size_t i = 0; i < record.rungs.size(); ++i) {
    Json& rung = rungs.emplace_back(Json{{"steps", result.rungs[i].steps}});
    if (record.rungs[i].figure)
      rung["figure"] = *record.rungs[i].figure;
    else
      rung["failure"] = record.rungs[i].failure;
  }
  return {{"trial", record.trial.number}, {"rank", record.rank}, {"options", options_json(result, record.trial)}, {"rungs", rungs}};
}

Json to_json(const TuningResult& result) {
  Json rungs = Json::array(), options = Json::array();
  for (const Rung& rung : result.rungs) rungs.push_back({{"steps", rung.steps}, {"trials", rung.trials}});
  for (const OptionSensitivity& option : result.sensitivity)
    options.push_back(sensitivity_json(option, *std::ranges::find(result.ranges, option.option, &Range::option)));
  const auto has_failed = [](const TrialRecord& record) { return !record.rungs.back().figure; };
  return {{"output", result.output},
          {"figure", result.figure},
          {"goal", result.goal == Goal::maximise ? "maximise" : "minimise"},
          {"rungs", rungs},
          {"steps", total_steps(result.rungs)},
          {"trials", result.trials.size()},
          {"failed", std::ranges::count_if(result.trials, has_failed)},
          {"best", trial_row(result, result.best())},
          {"sensitivity", options}};
}

}  // namespace metarm
