#include "metarm/eval/outliers.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "metarm/base/error.h"
#include "metarm/base/random.h"

namespace metarm {

namespace {

constexpr double kLeastShrinkage = 1e-9;  // so that no variance is 0

// Eigenvalues and -vectors of the covariance, largest first, by the smaller of the two products.
std::pair<at::Tensor, at::Tensor> principal_components(const at::Tensor& centred_BD) {
  const bool wide = centred_BD.size(0) < centred_BD.size(1);
  const at::Tensor rows = wide ? centred_BD : centred_BD.t();
  const auto [ascending, vectors] = at::linalg_eigh(at::mm(rows, rows.t()) / static_cast<double>(centred_BD.size(0)));
  const at::Tensor values = ascending.flip(0).clamp_min(0), leading = vectors.flip(1);
  if (!wide) return {values, leading};
  const at::Tensor component_DB = at::mm(centred_BD.t(), leading);
  return {values, component_DB / component_DB.norm(2, 0, true).clamp_min(1e-300)};
}

// ρ = b² / d² of a covariance with these eigenvalues, D in all with those that are 0.
double ledoit_wolf_shrinkage(const at::Tensor& centred_BD, const at::Tensor& eigenvalues, double mean) {
  const auto count = static_cast<double>(centred_BD.size(0)), width = static_cast<double>(centred_BD.size(1));
  const double squares = eigenvalues.square().sum().item<double>(), of_target = squares - width * mean * mean;
  const double fourth = centred_BD.square().sum(1).square().mean().item<double>();
  return of_target > 0 ? std::clamp((fourth - squares) / count / of_target, 0.0, 1.0) : 1;
}

// The fold of each prompt.
std::map<std::int64_t, std::int64_t> divide(std::span<const std::int64_t> prompts, std::uint64_t seed) {
  std::map<std::int64_t, std::int64_t> folds;
  for (const std::int64_t prompt : prompts) folds.emplace(prompt, 0);
  const auto count = static_cast<std::int64_t>(folds.size());
  if (count < 2) fail_input("--outliers: expected reference responses to two prompts at least, got {}", count);
  const std::vector<std::int64_t> order = permutation(count, RandomStream(seed, "outlier folds"));
  for (std::size_t i = 0; auto& [prompt, fold] : folds) fold = order[i++] % std::min(kFolds, count);
  return folds;
}

std::vector<double> to_vector(const at::Tensor& values) {
  const at::Tensor plain = values.contiguous();
  return {plain.const_data_ptr<double>(), plain.const_data_ptr<double>() + plain.numel()};
}

at::Tensor rows_at(const at::Tensor& rows, const std::vector<std::int64_t>& places) {
  return rows.index_select(0, at::tensor(places, at::kLong));
}

// Of one fold: the held-out reference responses' distances, ascending, and the others'.
struct FoldDistances {
  std::vector<double> held_out, responses;
  // Held-out distances that are no smaller.
  double beyond(double distance) const { return static_cast<double>(held_out.end() - std::ranges::lower_bound(held_out, distance)); }
};

FoldDistances measure_fold(const at::Tensor& reference_BD, const std::vector<std::int64_t>& fold_of_row, std::int64_t fold,
                           const at::Tensor& response_BD) {
  std::vector<std::int64_t> inside, outside;
  for (std::size_t row = 0; row < fold_of_row.size(); ++row)
    (fold_of_row[row] == fold ? inside : outside).push_back(static_cast<std::int64_t>(row));
  const HiddenGaussian gaussian = fit_hidden_gaussian(rows_at(reference_BD, outside));
  FoldDistances distances{to_vector(mahalanobis_distance(gaussian, rows_at(reference_BD, inside))),
                          to_vector(mahalanobis_distance(gaussian, response_BD))};
  std::ranges::sort(distances.held_out);
  return distances;
}

}  // namespace

HiddenGaussian fit_hidden_gaussian(const at::Tensor& hidden_BD) {
  const at::Tensor hidden = hidden_BD.to(at::kDouble), mean_D = hidden.mean(0), centred_BD = hidden - mean_D;
  const auto [values, components] = principal_components(centred_BD);
  const double mean = values.sum().item<double>() / static_cast<double>(hidden.size(1));
  if (!(mean > 0)) fail_input("--outliers: expected reference responses whose hidden states differ, got {} equal ones", hidden.size(0));
  const double shrinkage = std::max(ledoit_wolf_shrinkage(centred_BD, values, mean), kLeastShrinkage);
  return {mean_D, components, (1 - shrinkage) * values + shrinkage * mean, shrinkage * mean, shrinkage};
}

at::Tensor mahalanobis_distance(const HiddenGaussian& gaussian, const at::Tensor& hidden_BD) {
  const at::Tensor centred_BD = hidden_BD.to(at::kDouble) - gaussian.mean_D, square_BM = at::mm(centred_BD, gaussian.component_DM).square();
  at::Tensor square_B = (square_BM / gaussian.variance_M).sum(1);
  if (gaussian.component_DM.size(0) > gaussian.component_DM.size(1))
    square_B += (centred_BD.square().sum(1) - square_BM.sum(1)).clamp_min(0) / gaussian.rest_variance;
  return square_B.sqrt();
}

OutlierScores outlier_scores(const PromptStates& reference, const PromptStates& responses, std::uint64_t seed) {
  const std::map<std::int64_t, std::int64_t> folds = divide(reference.prompts, seed);
  std::vector<std::int64_t> fold_of_row;
  for (const std::int64_t prompt : reference.prompts) fold_of_row.push_back(folds.at(prompt));
  std::vector<FoldDistances> measured;
  for (std::int64_t fold = 0; fold < std::min(kFolds, static_cast<std::int64_t>(folds.size())); ++fold)
    measured.push_back(measure_fold(reference.hidden_BD, fold_of_row, fold, responses.hidden_BD));

  OutlierScores scores;
  for (const FoldDistances& fold : measured)
    scores.reference_distances.insert(scores.reference_distances.end(), fold.held_out.begin(), fold.held_out.end());
  for (std::size_t row = 0; row < responses.prompts.size(); ++row) {
    const auto home = folds.find(responses.prompts[row]);
    double beyond = 0, distance = 0;
    for (const FoldDistances& fold : measured) {
      const FoldDistances& from = home == folds.end() ? fold : measured[static_cast<std::size_t>(home->second)];
      beyond += fold.beyond(from.responses[row]);
      distance += from.responses[row] / static_cast<double>(measured.size());
    }
    scores.distances.push_back(static_cast<float>(distance));
    scores.p_values.push_back(static_cast<float>((1 + beyond) / (static_cast<double>(fold_of_row.size()) + 1)));
  }
  return scores;
}

OutlierShare outlier_share(const OutlierScores& scores, std::span<const std::int64_t> prompts, double level) {
  struct Sums {
    double responses = 0, outliers = 0, farther = 0, distance = 0;
  };
  std::map<std::int64_t, Sums> of_prompt;
  for (std::size_t row = 0; row < prompts.size(); ++row) {
    Sums& sums = of_prompt[prompts[row]];
    ++sums.responses;
    sums.outliers += scores.p_values[row] <= static_cast<float>(level);
    sums.farther += 1 - scores.p_values[row];
    sums.distance += scores.distances[row];
  }
  std::vector<double> responses, outliers, farther, distance;
  for (const auto& [prompt, sums] : of_prompt) {
    responses.push_back(sums.responses);
    outliers.push_back(sums.outliers);
    farther.push_back(sums.farther);
    distance.push_back(sums.distance);
  }
  const std::vector<float>& reference = scores.reference_distances;
  return {level,
          static_cast<std::int64_t>(prompts.size()),
          static_cast<std::int64_t>(reference.size()),
          ratio_estimate(outliers, responses),
          ratio_estimate(farther, responses),
          ratio_estimate(distance, responses),
          std::accumulate(reference.begin(), reference.end(), 0.0) / static_cast<double>(reference.size())};
}

}  // namespace metarm
