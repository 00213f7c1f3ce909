// A bet, repeated for ever, that a stream of numbers is not uniform on [0, 1): a martingale that starts at 1 and is never negative, so that
// for independent uniform numbers it ever reaches c with probability at most 1/c, however long and however often one looks (Ville's
// inequality).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace metarm {

// The Simple Jumper (Vovk et al., "Retrain or not retrain: conformal test martingales for change-point detection", arXiv 2102.10439) with
// two things to bet on, the first two Legendre polynomials on [0, 1]: h1(u) = 2u - 1, the numbers have become larger or smaller, and
// h2(u) = 6u^2 - 6u + 1, they lie further out or further in. A bet multiplies its capital by 1 + e h(u), e in {-1, -1/2, 1/2, 1}, or by 1.
// Before each number, a share J = 0.01 of the capital of the bets is divided among them anew. A reserve that does not bet yet gives them
// 1/(n + 1) of itself before the n-th number: the capital never falls below 1/(n + 1), and a change after n numbers is found nearly as if
// the game had begun there, at the price of a factor n + 1.
class JumperMartingale {
 public:
  void add(double u);                                  // in [0, 1]
  double log_capital() const { return log_capital_; }  // natural logarithm

 private:
  static constexpr std::size_t kBets = 9;
  double reserve_ = 1;                   // as a share of the whole capital, as the next
  std::array<double, kBets> capital_{};  // four bets on h1, four on h2, and one that stands still
  double log_capital_ = 0;
  std::int64_t numbers_ = 0;
};

}  // namespace metarm
