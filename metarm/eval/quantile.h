#pragma once

#include <span>

namespace metarm {

// Of sorted values, not empty, at `share` in [0, 1]: between the two nearest ones, as numpy.quantile.
double quantile(std::span<const double> sorted, double share);

}  // namespace metarm
