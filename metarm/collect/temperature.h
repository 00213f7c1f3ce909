// How sure a reward model may be of an order: temperature scaling (Guo et al. 2017, arXiv 1706.04599) of its margins.
//
//   P(a is better than b) = σ((r_a − r_b) / T),   T minimises  mean over labelled pairs of −log σ(d / T),  d = r_chosen − r_rejected
//
// T > 1: the reward model is surer than it is right.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"

namespace metarm {

double prob_better(double margin, double temperature);  // σ(margin / T)

struct ScoredMargins {
  std::vector<double> margins;
  BadRowReport report;
};
// The margins of a file of pairs with `chosen_reward` and `rejected_reward`, as `metarm score` writes them; null rewards are left out.
// Input errors name file, line and field.
ScoredMargins read_scored_margins(const std::string& file, BadRows bad_rows);

// T for these margins. Input error beginning with `where` where there is none: margins of mean 0 or less are no better than chance, and
// where all are above 0 every smaller T is better.
double fit_temperature(std::span<const double> margins, const std::string& where);

}  // namespace metarm
