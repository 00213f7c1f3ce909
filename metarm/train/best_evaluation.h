// The lowest held-out loss of a run so far, and how long ago it was: for early stopping, and for what follows held-out losses.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace metarm {

class BestEvaluation {
 public:
  // The evaluation after `step` steps (from 1). A loss that is not a number is no better than any.
  void add(std::int64_t step, double loss) {
    if (step_ == 0 ? loss == loss : loss < loss_) {
      step_ = static_cast<double>(step);
      loss_ = loss;
      since_ = 0;
    } else {
      ++since_;
    }
  }
  std::int64_t step() const { return static_cast<std::int64_t>(step_); }    // of the lowest; 0: none yet
  std::int64_t since() const { return static_cast<std::int64_t>(since_); }  // evaluations after it

  // What a resumed run needs (RunState); they stay where they are.
  std::vector<std::pair<std::string, double*>> numbers(const std::string& name) {
    return {{name + "_step", &step_}, {name + "_loss", &loss_}, {name + "_since", &since_}};
  }

 private:
  double step_ = 0, loss_ = 0, since_ = 0;
};

}  // namespace metarm
