// How far one policy has moved from another, from responses that it sampled: the KL divergence KL(A || B), in nats.
//
//   k1 = log p_A(y|x) − log p_B(y|x)                       unbiased, either sign
//   k3 = Σ_t [ρ_t − 1 − log ρ_t],  ρ_t = p_B(y_t) / p_A(y_t)  each term at least 0; less noise, and for y ~ A of the same mean
//                                                         (Schulman 2020, "Approximating KL Divergence", token by token)
//
// Per response: the mean over responses. Per token: the sums over all responses' tokens. Standard errors take prompts as independent, not
// the responses to one prompt. The probabilities are those at temperature 1: responses sampled otherwise are not A's.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "metarm/eval/policy_log_ratios.h"

namespace metarm {

struct Estimate {
  double mean, standard_error;  // NaN where there is nothing to estimate it from
};

// Σ sums / Σ counts over clusters that are independent of one another, with the standard error of a ratio,
// sqrt(G / (G − 1) Σ_g (sum_g − mean count_g)²) / Σ counts. With counts of 1, the mean and its usual standard error.
Estimate ratio_estimate(std::span<const double> sums, std::span<const double> counts);

struct PolicyDivergence {
  std::int64_t groups = 0, responses = 0, tokens = 0;
  std::int64_t too_long = 0;  // responses left out: alone longer than max_length
  Estimate k1_per_response, k3_per_response, k1_per_token, k3_per_token;
};

// By prompt; one without responses is none.
PolicyDivergence policy_divergence(std::span<const std::vector<LogRatio>> groups);

// Of the groups' responses, with the policies of two directories, as policy_log_ratios.h takes them. All ranks together.
PolicyDivergence measure_policy_divergence(const std::string& policy, const std::string& reference, std::span<const ResponseGroup> groups,
                                           const ScoringOptions& scoring, const CommonOptions& common, Ranks& ranks, Log& log);

}  // namespace metarm
