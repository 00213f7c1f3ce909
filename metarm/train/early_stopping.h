// When a training ends before its last step, and which step's model it then keeps: --early-stopping-patience.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/train/best_evaluation.h"

namespace metarm {

class EarlyStopping {
 public:
  // patience: evaluations in a row that are no better than the best; 0: it never ends early, and keeps its last model.
  explicit EarlyStopping(std::int64_t patience) : patience_(patience) {}

  // The evaluation after `step` steps (from 1).
  void add(std::int64_t step, double loss) {
    if (patience_ > 0) best_.add(step, loss);
  }
  bool is_over() const { return patience_ > 0 && best_.since() >= patience_; }
  std::int64_t kept_step() const { return best_.step(); }  // whose checkpoint has to stay; 0: none

  // What a resumed run needs (RunState); they stay where they are.
  std::vector<std::pair<std::string, double*>> numbers() {
    return patience_ > 0 ? best_.numbers("best_evaluation") : std::vector<std::pair<std::string, double*>>{};
  }

 private:
  std::int64_t patience_;
  BestEvaluation best_;
};

}  // namespace metarm
