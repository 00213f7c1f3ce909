#include "metarm/eval/outliers.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "metarm/base/random.h"
#include "tests/support/error_of.h"

namespace metarm {
namespace {

TEST(HiddenGaussian, ByHand) {  // variances 2 and 1/2, mean 5/4; b² = (17/2 - 17/4) / 4, d² = 9/8
  const at::Tensor hidden = at::tensor({7.0, 3.0, 3.0, 3.0, 5.0, 4.0, 5.0, 2.0}, at::kDouble).view({4, 2});
  const HiddenGaussian gaussian = fit_hidden_gaussian(hidden);
  const double shrinkage = 17.0 / 18, wide = 2 - shrinkage * 0.75, narrow = 0.5 + shrinkage * 0.75;
  EXPECT_NEAR(gaussian.shrinkage, shrinkage, 1e-12);
  EXPECT_TRUE(at::allclose(gaussian.variance_M, at::tensor({wide, narrow}, at::kDouble)));
  const at::Tensor distance = mahalanobis_distance(gaussian, at::tensor({5.0, 3.0, 8.0, 3.0, 6.0, 5.0}, at::kDouble).view({3, 2}));
  EXPECT_TRUE(at::allclose(distance, at::tensor({0.0, 3 / std::sqrt(wide), std::sqrt(1 / wide + 4 / narrow)}, at::kDouble)));
}

TEST(HiddenGaussian, ShrinkageIsThatOfItsDefinition) {
  at::manual_seed(1);
  const at::Tensor x = at::randn({40, 3}, at::kDouble) * at::tensor({3.0, 2.0, 1.5}, at::kDouble);
  const at::Tensor z = x - x.mean(0), s = at::mm(z.t(), z) / 40, target = at::eye(3, at::kDouble) * s.trace() / 3;
  double of_estimate = 0;
  for (std::int64_t k = 0; k < 40; ++k) of_estimate += (at::outer(z[k], z[k]) - s).square().sum().item<double>() / (40.0 * 40.0);
  EXPECT_NEAR(fit_hidden_gaussian(x).shrinkage, of_estimate / (s - target).square().sum().item<double>(), 1e-9);
}

TEST(HiddenGaussian, DistanceIsThatOfTheWholeCovariance) {  // of fewer states than numbers in one, too
  for (const std::int64_t states : {12, 60}) {
    at::manual_seed(2);
    const at::Tensor x = at::randn({states, 30}, at::kDouble) * at::linspace(3, 0.1, 30, at::kDouble),
                     others = at::randn({7, 30}, at::kDouble);
    const HiddenGaussian gaussian = fit_hidden_gaussian(x);
    const at::Tensor z = x - x.mean(0), s = at::mm(z.t(), z) / states, unit = at::eye(30, at::kDouble) * s.trace() / 30;
    const at::Tensor inverse = at::linalg_inv((1 - gaussian.shrinkage) * s + gaussian.shrinkage * unit), c = others - x.mean(0);
    EXPECT_TRUE(at::allclose(mahalanobis_distance(gaussian, others).square(), (at::mm(c, inverse) * c).sum(1)));
    EXPECT_GT(gaussian.shrinkage, 0.01);
  }
}

TEST(HiddenGaussian, EqualStatesHaveNone) {
  EXPECT_EQ(error_of([] {
              fit_hidden_gaussian(at::ones({4, 3}));
            }),
            "--outliers: expected reference responses whose hidden states differ, got 4 equal ones");
}

// Responses of which each prompt has its own part, with heavy tails: Student's t with 3 degrees of freedom.
class Policy {
 public:
  explicit Policy(std::uint64_t seed) : stream_(seed, "policy") {}

  std::vector<double> prompt() { return draw(1.0); }
  std::vector<double> response(const std::vector<double>& prompt) {
    std::vector<double> state = draw(0.5);
    for (std::size_t i = 0; i < kWidth; ++i) state[i] += prompt[i];
    return state;
  }

 private:
  static constexpr std::size_t kWidth = 60;

  std::vector<double> draw(double size) {
    double squares = 0;
    for (int i = 0; i < 3; ++i) squares += std::pow(stream_.normal(), 2);
    std::vector<double> state;
    for (std::size_t i = 0; i < kWidth; ++i)
      state.push_back(size * stream_.normal() / std::sqrt(squares / 3) / (1 + 0.1 * static_cast<double>(i)));
    return state;
  }

  RandomStream stream_;
};

struct Sample {
  std::vector<std::vector<double>> states;
  std::vector<std::int64_t> prompts;

  PromptStates as_states() const {
    std::vector<double> flat;
    for (const std::vector<double>& state : states) flat.insert(flat.end(), state.begin(), state.end());
    return {at::tensor(flat, at::kDouble).view({static_cast<std::int64_t>(states.size()), -1}), prompts};
  }
};

constexpr std::int64_t kPrompts = 150;
enum class Prompts { others, same, same_under_other_numbers };

struct Drawn {
  Sample reference, responses;
};
// Two responses a prompt in the reference, one beside it.
Drawn draw(std::uint64_t seed, Prompts prompts) {
  Policy policy(seed);
  Drawn drawn;
  for (std::int64_t p = 0; p < kPrompts; ++p) {
    const std::vector<double> prompt = policy.prompt();
    for (int i = 0; i < 2; ++i) {
      drawn.reference.states.push_back(policy.response(prompt));
      drawn.reference.prompts.push_back(p);
    }
    drawn.responses.states.push_back(policy.response(prompts == Prompts::others ? policy.prompt() : prompt));
    drawn.responses.prompts.push_back(prompts == Prompts::same ? p : kPrompts + p);
  }
  return drawn;
}

double share_of(const std::vector<float>& p_values, double level) {
  const auto outliers = std::ranges::count_if(p_values, [&](float p) { return p <= static_cast<float>(level); });
  return static_cast<double>(outliers) / static_cast<double>(p_values.size());
}

constexpr std::uint64_t kDraws = 40;

double false_positives(double level, Prompts prompts) {
  double sum = 0;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    const Drawn drawn = draw(seed, prompts);
    sum += share_of(outlier_scores(drawn.reference.as_states(), drawn.responses.as_states(), seed).p_values, level);
  }
  return sum / kDraws;
}

// 6000 responses: a share of 5 % has a standard error of 0.3 % for the responses and one of 0.2 % for the 40 references.
TEST(OutlierScores, AsManyFalsePositivesAsTheLevelSays) {
  for (const Prompts prompts : {Prompts::others, Prompts::same}) {
    EXPECT_NEAR(false_positives(0.05, prompts), 0.05, 0.012);
    EXPECT_NEAR(false_positives(0.01, prompts), 0.01, 0.006);
  }
}

TEST(OutlierScores,
     ATableWouldFindTooMany) {  // 88.379 is chi-square's 99 % quantile for 12 degrees of freedom: what the held-out folds are for
  double outliers = 0;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed) {
    const Drawn drawn = draw(seed, Prompts::others);
    const HiddenGaussian gaussian = fit_hidden_gaussian(drawn.reference.as_states().hidden_BD);
    const at::Tensor distance = mahalanobis_distance(gaussian, drawn.responses.as_states().hidden_BD);
    outliers += (distance.square() > 88.379).sum().item<double>() / static_cast<double>(kDraws * kPrompts);
  }
  EXPECT_GT(outliers, 0.02);
}

TEST(OutlierScores, APromptOfTheReferenceIsHeldOutWithIt) {  // else its other responses, in the Gaussian, make a response look at home
  double held_out = 0, not_held_out = 0;
  for (std::uint64_t seed = 0; seed < kDraws; ++seed)
    for (const auto& [prompts, sum] : {std::pair(Prompts::same, &held_out), std::pair(Prompts::same_under_other_numbers, &not_held_out)}) {
      const Drawn drawn = draw(seed, prompts);
      const OutlierScores scores = outlier_scores(drawn.reference.as_states(), drawn.responses.as_states(), seed);
      *sum += outlier_share(scores, drawn.responses.prompts, 0.05).farther.mean / kDraws;
    }
  EXPECT_NEAR(held_out, 0.5, 0.02);
  EXPECT_LT(not_held_out, held_out - 0.02);
}

TEST(OutlierScores, WhatHasShiftedIsFound) {
  Drawn drawn = draw(7, Prompts::others);
  for (std::vector<double>& state : drawn.responses.states) state.back() += 12;
  const OutlierScores scores = outlier_scores(drawn.reference.as_states(), drawn.responses.as_states(), 0);
  EXPECT_GT(share_of(scores.p_values, 0.05), 0.9);
  EXPECT_FLOAT_EQ(*std::ranges::min_element(scores.p_values), 1.0F / (2 * kPrompts + 1));
  EXPECT_EQ(scores.reference_distances.size(), 2U * kPrompts);
}

TEST(OutlierScores, NeedsTwoPrompts) {
  const PromptStates one{at::randn({3, 4}), {5, 5, 5}};
  EXPECT_EQ(error_of([&] { outlier_scores(one, one, 0); }), "--outliers: expected reference responses to two prompts at least, got 1");
}

TEST(OutlierShare, ByHand) {  // prompt 3 has 1 of 2, prompt 8 0 of 1
  const OutlierScores scores{{4, 2, 3}, {0.01F, 0.5F, 0.03F}, {1, 3}};
  const OutlierShare share = outlier_share(scores, std::vector<std::int64_t>{3, 3, 8}, 0.01);
  EXPECT_NEAR(share.share.mean, 1.0 / 3, 1e-12);
  EXPECT_NEAR(share.share.standard_error, 1.0 / 3 * std::sqrt(2 * (1.0 / 9 + 1.0 / 9)), 1e-12);  // residuals 1 - 2/3 and 0 - 1/3
  EXPECT_NEAR(share.farther.mean, (0.99 + 0.5 + 0.97) / 3, 1e-6);
  EXPECT_DOUBLE_EQ(share.distance.mean, 3);
  EXPECT_DOUBLE_EQ(share.reference_distance, 2);
  EXPECT_EQ(share.responses, 3);
  EXPECT_EQ(share.reference_responses, 2);
}

}  // namespace
}  // namespace metarm
