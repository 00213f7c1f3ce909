// Successive halving (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016):
//
//   rung k = 0, 1, ...   n_k = floor(n / eta^k) trials, to r_k = r eta^k steps each
//
// The best n_{k+1} of rung k go on with what they have learnt; so a rung costs n_k (r_k - r_{k-1}) steps. A rung ends before the next
// begins: which trials go on does not depend on how many run at once, as it does with the asynchronous variant (ASHA, Li et al. 2018).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace metarm {

struct Rung {
  std::int64_t steps = 0;  // of each of its trials, from the beginning
  std::int64_t trials = 0;
};

// `rungs` 0: until fewer than eta trials are left. Input error for more rungs than there are trials for, or too many steps to count.
std::vector<Rung> plan_rungs(std::int64_t trials, std::int64_t min_steps, std::int64_t eta, std::int64_t rungs);

// Of all trials together.
std::int64_t total_steps(const std::vector<Rung>& rungs);

enum class Goal { maximise, minimise };

// A trial at a rung. No figure: it failed, which is worse than any figure.
struct RungResult {
  std::int64_t trial = 0;
  std::optional<double> figure;
};

// Best first; equal ones by their number.
void sort_by_figure(std::vector<RungResult>& results, Goal goal);

// The numbers, in order, of the best `keep` that have a figure.
std::vector<std::int64_t> choose_best(std::vector<RungResult> results, Goal goal, std::int64_t keep);

}  // namespace metarm
