#include "metarm/tune/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

constexpr std::uint64_t kPermutations = 2000;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kRounding = 1e-9;  // of shares and lengths that are equal but for it

using Column = std::vector<double>;

double dot(const Column& a, const Column& b) { return std::inner_product(a.begin(), a.end(), b.begin(), 0.0); }

Column centred(Column column) {
  const double mean = std::reduce(column.begin(), column.end()) / static_cast<double>(column.size());
  for (double& value : column) value -= mean;
  return column;
}

// Of length 1 and orthogonal to `others`, which are; empty where nothing is left.
Column made_orthonormal(Column column, const std::vector<Column>& others) {
  const double before = std::sqrt(dot(column, column));
  for (const Column& other : others) {
    const double along = dot(column, other);
    for (std::size_t i = 0; i < column.size(); ++i) column[i] -= along * other[i];
  }
  const double length = std::sqrt(dot(column, column));
  if (length <= kRounding * before || length == 0) return {};
  for (double& value : column) value /= length;
  return column;
}

// An orthonormal basis of what the columns explain beside the mean.
std::vector<Column> basis_of(const std::vector<Column>& columns) {
  std::vector<Column> basis;
  for (const Column& column : columns)
    if (Column added = made_orthonormal(centred(column), basis); !added.empty()) basis.push_back(std::move(added));
  return basis;
}

// R^2 of the least-squares fit of a column of mean 0 and length 1.
double explained(const std::vector<Column>& basis, const Column& figure) {
  double sum = 0;
  for (const Column& term : basis) sum += dot(term, figure) * dot(term, figure);
  return sum;
}

Column permuted(const Column& column, std::uint64_t seed, std::uint64_t draw) {
  const std::vector<std::int64_t> order = permutation(static_cast<std::int64_t>(column.size()), RandomStream(seed, "tune chance", draw));
  Column moved;
  for (const std::int64_t from : order) moved.push_back(column[static_cast<std::size_t>(from)]);
  return moved;
}

// The order statistic below or at which a share of `sorted` is.
double order_statistic(const Column& sorted, double share) {
  return sorted[static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size()))) - 1];
}

// `basis` is not empty, and its first term is the option's ranks where it is a number.
Sensitivity against_chance(const std::vector<Column>& basis, bool is_number, const Column& figure, std::uint64_t seed) {
  const double observed = explained(basis, figure);
  Column shares, correlations;
  double at_least = 0;
  for (std::uint64_t draw = 0; draw < kPermutations; ++draw) {
    const Column moved = permuted(figure, seed, draw);
    shares.push_back(explained(basis, moved));
    correlations.push_back(dot(basis.front(), moved));
    at_least += shares.back() >= observed - kRounding;
  }
  std::ranges::sort(shares);
  std::ranges::sort(correlations);
  const double mean = std::reduce(shares.begin(), shares.end()) / static_cast<double>(kPermutations);
  const auto beyond_chance = [&](double share) { return mean < 1 - kRounding ? std::max(0.0, (share - mean) / (1 - mean)) : kNaN; };
  Sensitivity found{kNaN,
                    kNaN,
                    kNaN,
                    beyond_chance(observed),
                    beyond_chance(order_statistic(shares, 0.95)),
                    (1 + at_least) / (1 + static_cast<double>(kPermutations))};
  if (!is_number) return found;
  found.rank_correlation = dot(basis.front(), figure);
  found.chance_low = order_statistic(correlations, 0.025);
  found.chance_high = order_statistic(correlations, 0.975);
  return found;
}

Sensitivity find_sensitivity(const std::vector<Column>& columns, bool is_number, std::span<const double> goodness, std::uint64_t seed) {
  if (goodness.size() < 3) fail_internal("sensitivity: expected three trials at least, got {}", goodness.size());
  const std::vector<Column> basis = basis_of(columns);
  const Column figure = made_orthonormal(centred(mean_ranks(goodness)), {});
  if (basis.empty() || figure.empty()) return {kNaN, kNaN, kNaN, kNaN, kNaN, kNaN};
  return against_chance(basis, is_number, figure, seed);
}

}  // namespace

std::vector<double> mean_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [&](std::size_t i) { return values[i]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0, end = 0; begin < order.size(); begin = end) {
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = static_cast<double>(begin + 1 + end) / 2;
  }
  return ranks;
}

Sensitivity sensitivity_to_number(std::span<const double> values, std::span<const double> goodness, std::uint64_t seed) {
  const Column ranks = centred(mean_ranks(values));
  Column squares = ranks;
  for (double& value : squares) value *= value;
  return find_sensitivity({ranks, squares}, true, goodness, seed);
}

Sensitivity sensitivity_to_choice(std::span<const std::int64_t> choices, std::span<const double> goodness, std::uint64_t seed) {
  const std::int64_t count = choices.empty() ? 0 : std::ranges::max(choices) + 1;
  std::vector<Column> columns(static_cast<std::size_t>(count), Column(choices.size(), 0.0));
  for (std::size_t i = 0; i < choices.size(); ++i) columns[static_cast<std::size_t>(choices[i])][i] = 1;
  return find_sensitivity(columns, false, goodness, seed);
}

Json to_json(const Sensitivity& sensitivity) {
  const auto number = [](double value) { return std::isnan(value) ? Json() : Json(value); };
  return {{"rank_correlation", number(sensitivity.rank_correlation)}, {"chance_low", number(sensitivity.chance_low)},
          {"chance_high", number(sensitivity.chance_high)},           {"share", number(sensitivity.share)},
          {"chance_share", number(sensitivity.chance_share)},         {"p", number(sensitivity.p)}};
}

}  // namespace metarm
