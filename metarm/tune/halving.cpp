#include "metarm/tune/halving.h"

#include <algorithm>
#include <limits>

#include "metarm/base/error.h"

namespace metarm {

std::vector<Rung> plan_rungs(std::int64_t trials, std::int64_t min_steps, std::int64_t eta, std::int64_t rungs) {
  std::vector<Rung> planned = {{min_steps, trials}};
  while (planned.back().trials >= eta && (rungs == 0 || static_cast<std::int64_t>(planned.size()) < rungs)) {
    if (planned.back().steps > std::numeric_limits<std::int64_t>::max() / eta / trials)
      fail_input("tune: --min-steps: expected fewer steps, got {}, which {} rungs multiply beyond counting", min_steps, planned.size());
    planned.push_back({planned.back().steps * eta, planned.back().trials / eta});
  }
  if (static_cast<std::int64_t>(planned.size()) < rungs)
    fail_input("tune: --rungs: expected at most {} for {} trials of which one in {} goes on, got {}", planned.size(), trials, eta, rungs);
  return planned;
}

std::int64_t total_steps(const std::vector<Rung>& rungs) {
  std::int64_t total = 0, before = 0;
  for (const Rung& rung : rungs) {
    total += rung.trials * (rung.steps - before);
    before = rung.steps;
  }
  return total;
}

void sort_by_figure(std::vector<RungResult>& results, Goal goal) {
  std::ranges::sort(results, [&](const RungResult& a, const RungResult& b) {
    if (a.figure.has_value() != b.figure.has_value()) return a.figure.has_value();
    if (a.figure && *a.figure != *b.figure) return (*a.figure > *b.figure) == (goal == Goal::maximise);
    return a.trial < b.trial;
  });
}

std::vector<std::int64_t> choose_best(std::vector<RungResult> results, Goal goal, std::int64_t keep) {
  std::erase_if(results, [](const RungResult& result) { return !result.figure; });
  sort_by_figure(results, goal);
  std::vector<std::int64_t> chosen;
  for (const RungResult& result : results)
    if (static_cast<std::int64_t>(chosen.size()) < keep) chosen.push_back(result.trial);
  std::ranges::sort(chosen);
  return chosen;
}

}  // namespace metarm
