// How far each mode's meta step goes, and how often one is taken. Either may follow the agreement of the two gradients and the held-out
// loss; without --meta-adapt and --meta-backoff both stay as they are, and every turn has a meta step.
//
//   after a meta step of mode m, with c = cos(∇J, ∇L)                  η_m ← η_m exp(−κ c),   n_m ← n_m exp(κ c)
//   after an evaluation that is not below the lowest before it, all m  η_m ← b η_m,           n_m ← n_m / b
//
// The evaluations are those every --eval-steps, so that a run that is prolonged is the one that never ended.
// η, the meta learning rate, stays within a tenth and ten times --meta-lr; n, the interval, within 1 and --max-meta-interval.
// --meta-adapt-target says which of them follow. A mode takes one meta step in n of its turns: the first, and then each that finds no turn
// left to wait for, where a meta step adds n to those and a turn takes 1 away.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/meta/align_options.h"

namespace metarm {

class MetaPace {
 public:
  // `modes`: how many take turns by step, 1 or more; without --meta-adapt all groups are one.
  MetaPace(const AlignOptions& options, std::size_t modes);

  struct Turn {
    std::size_t mode;
    bool is_due;              // for a meta step
    std::int64_t order_step;  // the GroupOrder's step to take groups of: turns without a meta step leave none out
    std::int64_t meta_steps;  // before it, of all modes
  };
  Turn turn(std::int64_t step) const;
  double meta_lr(std::size_t mode) const { return modes_[mode].meta_lr; }
  // meta_lr of a meta step, meta_interval, mode: those that move.
  Json figures(const Turn& turn) const;

  // After the turn; c of its meta step: one that is not finite changes nothing.
  void end(const Turn& turn, double agreement);
  void back_off();

  // What a resumed run needs (RunState); they stay where they are.
  std::vector<std::pair<std::string, double*>> numbers();

 private:
  struct Mode {
    double meta_lr, interval = 1;
    double wait = 0;   // turns to go until its next meta step
    double steps = 0;  // meta steps so far
  };
  void scale(Mode& mode, double factor) const;  // of η; n by its inverse

  double start_, max_interval_, adapt_, backoff_;
  bool moves_meta_lr_, moves_interval_;
  std::vector<Mode> modes_;
};

}  // namespace metarm
