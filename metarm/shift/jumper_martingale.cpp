#include "metarm/shift/jumper_martingale.h"

#include <cmath>
#include <numeric>

namespace metarm {

namespace {

constexpr double kJump = 0.01;
constexpr std::array<double, 4> kStakes = {-1, -0.5, 0.5, 1};

}  // namespace

void JumperMartingale::add(double u) {
  ++numbers_;
  const double woken = reserve_ / static_cast<double>(numbers_ + 1);
  reserve_ -= woken;
  const double shared = (kJump * std::accumulate(capital_.begin(), capital_.end(), 0.0) + woken) / kBets;
  const std::array<double, 2> gain = {2 * u - 1, 6 * u * u - 6 * u + 1};
  double sum = reserve_;
  for (std::size_t bet = 0; bet < kBets; ++bet) {
    const double factor = bet < 8 ? 1 + kStakes[bet % 4] * gain[bet / 4] : 1;
    capital_[bet] = ((1 - kJump) * capital_[bet] + shared) * factor;
    sum += capital_[bet];
  }
  // Kept near 1: the capital itself may pass any number.
  for (double& capital : capital_) capital /= sum;
  reserve_ /= sum;
  log_capital_ += std::log(sum);
}

}  // namespace metarm
