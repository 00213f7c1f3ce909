// Figures about a reward model: accuracy with its interval, calibration, and how far apart it puts the responses to one prompt. Pure
// functions of rewards.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace metarm {

struct Interval {
  double low, high;
};
// Wilson's 95 % interval of a share, successes of trials. trials > 0.
Interval wilson_interval(std::int64_t successes, std::int64_t trials);

struct PairRewards {
  float chosen, rejected;
};

struct CalibrationBin {
  double mean_confidence, accuracy;
  std::int64_t pairs;
};

struct PairStatistics {
  std::int64_t pairs = 0;
  double accuracy = 0;  // share with chosen > rejected; ties count as wrong
  Interval accuracy_interval{};
  double loss = 0;                               // mean of -log p, p = sigmoid(chosen - rejected): the pairwise loss and the log loss
  double brier = 0;                              // mean of (1 - p)^2
  double mean_margin = 0;                        // of chosen - rejected
  double mean_reward = 0, reward_deviation = 0;  // over all rewards; population standard deviation
  double calibration_error =
      0;  // expected |confidence - accuracy|, ten equal bins of confidence max(p, 1 - p), p = sigmoid(chosen - rejected)
  std::vector<CalibrationBin> calibration;  // bins that hold pairs
};
PairStatistics pair_statistics(std::span<const PairRewards> rewards);

// Reward differences r(x, y_a) - r(x, y_b) of the responses to one prompt, averaged over a group's pairs and then over groups.
struct DifferenceStatistics {
  std::int64_t groups = 0;
  double mean = 0;       // of |difference|
  double variance = 0;   // of the difference with both orders counted, so that its mean is 0: the mean of its square
  double near_ties = 0;  // share of pairs closer than `near_tie` of `deviation`
  // The same in units of `deviation`, so that a mere change of the rewards' scale shows as none.
  double scaled_mean = 0, scaled_variance = 0;
  std::vector<std::int64_t> histogram;  // of |difference| in steps of kHistogramStep deviations, the last bin open
  double deviation = 0, near_tie = 0;   // as given
};
inline constexpr double kHistogramStep = 0.25;
// `deviation`: the reward model's reward standard deviation on pairs; 0: unknown, the scaled figures stay 0.
DifferenceStatistics difference_statistics(std::span<const std::vector<float>> group_rewards, double deviation, double near_tie = 0.1);

}  // namespace metarm
