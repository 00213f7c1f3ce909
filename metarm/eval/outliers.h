// Which responses lie outside a reference set, in the hidden states that a reward model reads its rewards from. Rewards are extrapolated
// there, and what exploits the reward model gathers there (InfoRM, Miao et al. 2024, arXiv 2402.09345; the share of outliers by their
// distance is Miao et al. 2025's Mahalanobis outlier probability, arXiv 2510.13694).
//
// A Gaussian of the reference's states, of mean μ and covariance S with D eigenvalues λ_j and eigenvectors v_j, the principal components.
// S is drawn towards a multiple of the identity by Ledoit and Wolf's share ρ (J. Multivariate Analysis 88, 2004), so that leading
// components count by their own variance, and those that hold little or nothing do not count for more than the reference can show:
//
//   distance(h)² = Σ_j <v_j, h − μ>² / ((1 − ρ) λ_j + ρ mean(λ))
//
// Its tail is that of no table: hidden states are no Gaussian, and those that it was fitted to lie nearer than new ones. So the reference's
// prompts are divided into kFolds at random, d_f is the distance from the Gaussian of all folds but f, and a response counts as far out as
// the reference responses that lie no nearer, each in its own, held-out fold (cross-conformal prediction, Vovk 2015, arXiv 1208.0806):
//
//   p(h) = (1 + Σ_f #{i in fold f: d_f(i) ≥ d_f(h)}) / (n + 1)
//
// For a response to a prompt of fold g, whose other responses are in the other folds' Gaussians, d_g(h) takes the place of every d_f(h).
// Outliers have p ≤ level. Of responses like the reference's, to prompts like its prompts, a share of `level` are, with a standard
// deviation of about sqrt(level (1 − level) / n) for the reference that was drawn.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "metarm/eval/policy_divergence.h"
#include "metarm/model/reward_model.h"

namespace metarm {

inline constexpr std::int64_t kFolds = 5;

struct HiddenGaussian {
  at::Tensor mean_D, component_DM, variance_M;  // float64, M = min(B, D); variances as shrunk
  double rest_variance = 0;                     // in every other direction
  double shrinkage = 0;                         // ρ in [0, 1]
};
// hidden: [B, D], not all equal (else an input error). Cost O(B D min(B, D)).
HiddenGaussian fit_hidden_gaussian(const at::Tensor& hidden_BD);
at::Tensor mahalanobis_distance(const HiddenGaussian& gaussian, const at::Tensor& hidden_BD);  // float64 [B]

struct PromptStates {
  at::Tensor hidden_BD;
  std::vector<std::int64_t> prompts;  // of each row; equal numbers are one prompt, in the reference and beside it
};
struct OutlierScores {
  std::vector<float> distances, p_values;  // one a response; distances are means over the folds that count
  std::vector<float> reference_distances;  // held out
};
// The reference has two prompts at least. A function of the seed, which divides the prompts.
OutlierScores outlier_scores(const PromptStates& reference, const PromptStates& responses, std::uint64_t seed);

// Of a set of responses. Standard errors take prompts as independent, not responses, and the reference as given.
struct OutlierShare {
  double level = 0;
  std::int64_t responses = 0, reference_responses = 0;
  Estimate share;     // of outliers; `level` where nothing has shifted
  Estimate farther;   // probability of lying farther out than a reference response; 1/2 where nothing has shifted
  Estimate distance;  // mean
  double reference_distance = 0;
};
OutlierShare outlier_share(const OutlierScores& scores, std::span<const std::int64_t> prompts, double level);

}  // namespace metarm
