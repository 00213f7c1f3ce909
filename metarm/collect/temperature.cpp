#include "metarm/collect/temperature.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "metarm/base/error.h"

namespace metarm {

namespace {

std::optional<double> reward_field(const Json& row, const char* field, const std::string& where) {
  if (require_field(row, field, where).is_null()) return std::nullopt;
  return number_field(row, field, where);
}

// Of the mean loss with respect to a = 1 / T; grows with a.
double slope(std::span<const double> margins, double a) {
  double sum = 0;
  for (const double margin : margins) sum -= margin / (1 + std::exp(a * margin));
  return sum / static_cast<double>(margins.size());
}

}  // namespace

double prob_better(double margin, double temperature) { return 1 / (1 + std::exp(-margin / temperature)); }

ScoredMargins read_scored_margins(const std::string& file, BadRows bad_rows) {
  ScoredMargins scored;
  scored.report = for_each_row({file}, bad_rows, [&](const JsonRow& row) {
    const auto chosen = reward_field(row.value, "chosen_reward", row.where());
    const auto rejected = reward_field(row.value, "rejected_reward", row.where());
    if (chosen && rejected) scored.margins.push_back(*chosen - *rejected);
  });
  return scored;
}

double fit_temperature(std::span<const double> margins, const std::string& where) {
  if (margins.empty()) fail_input("{}: expected pairs with rewards, got none", where);
  if (std::accumulate(margins.begin(), margins.end(), 0.0) <= 0)
    fail_input("{}: expected rewards that put chosen responses above rejected ones on average, got none better than chance", where);
  if (std::ranges::min(margins) >= 0)
    fail_input("{}: expected a pair that the reward model orders wrongly, got none of {}; no temperature fits best", where, margins.size());
  double low = 0, high = 1;
  while (slope(margins, high) < 0) high *= 2;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (slope(margins, middle) < 0 ? low : high) = middle;
  }
  return 1 / high;
}

}  // namespace metarm
