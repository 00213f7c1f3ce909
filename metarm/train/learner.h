// One model under training: its optimizer, its learning rate, what a resumed run needs of it.
#pragma once

#include <cstdint>
#include <string>

#include "metarm/base/json_lines.h"
#include "metarm/train/optimizer.h"
#include "metarm/train/training_setup.h"

namespace metarm {

// How it is trained, beyond what TrainingOptions say.
struct LearnerOptions {
  double lr;
  std::int64_t updates;  // of the whole run, over which the learning rate goes its way
  std::int64_t updates_per_step;
  bool merge_lora;   // how the model is written
  std::string name;  // its folder in the run's and in checkpoints, and the beginning of its figures; empty: of the run's first model
};

class Learner {
 public:
  // `state`: what else a resumed run needs.
  Learner(TrainingSetup& setup, const TrainingOptions& training, LearnerOptions options, const RunState& state);

  // Before the gradient of step `step` (from 0): its leaves ask for one where they learn by then.
  void begin_step(std::int64_t step) const;
  std::int64_t weight_count() const { return share_.total(); }
  // Clips the gradient, each rank its part of [weight_count], and takes the optimizer's step `update` (from 0) with it. Where it is not
  // finite, the weights stay. Adds learning_rate and gradient_norm, or skipped, to `figures`.
  void apply(const at::Tensor& gradient, std::int64_t update, Json& figures);
  int skipped_in_a_row() const { return skipped_in_a_row_; }

  // All ranks: the state whole, on the first; then that one writes model and state into its part of a checkpoint's folder.
  RunState whole_state() const;
  void save_checkpoint(const std::string& folder, const RunState& whole) const;
  void load_checkpoint(const std::string& folder, Log& log);
  // Writes the finished model into its part of the run's folder; one that has a folder of its own appears there whole.
  void save_model(const std::string& folder) const;

 private:
  std::string place_in(const std::string& folder) const;

  TrainingSetup& setup_;
  const TrainingOptions& training_;
  const LearnerOptions options_;
  const Share share_;
  Optimizer optimizer_;
  RunState state_;
  int skipped_in_a_row_ = 0;
};

}  // namespace metarm
