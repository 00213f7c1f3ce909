// The training loop: steps, learning rate, clipping, evaluation, metrics, checkpoints, resuming. What the gradient is of is the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "metarm/eval/statistics.h"
#include "metarm/train/reward_setup.h"
#include "metarm/train/run_directory.h"

namespace metarm {

struct Objective {
  const char* name = "training";  // in the progress shown
  std::int64_t steps_per_epoch = 1;
  // Makes the gradient of step `step` (from 0) at the master weights, each rank its own part of `gradient`, zeros of [total], and returns
  // figures to record: at least loss, accuracy, pairs, tokens. A function of the step and the weights alone, so that a resumed run repeats
  // it.
  std::function<Json(std::int64_t step, at::Tensor& gradient)> add_gradient;
  NamedTensors state;  // what else a resumed run needs: float32, each rank its part
};

struct TrainingSummary {
  std::int64_t steps = 0;
  std::int64_t skipped_steps = 0;  // of a resumed run, those before too
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;  // of the process
  Json last;                           // the last step's figures
  std::optional<PairStatistics> evaluation;
};

// All ranks together. Runs to the end from the run's last checkpoint, writes the finished model and removes nothing. A step whose gradient
// is not finite is skipped and counted; ten in a row are an error, and so are two at the end.
TrainingSummary run_training(RewardSetup& setup, const Objective& objective, const TrainingOptions& training, const ScoringOptions& scoring,
                             RunDirectory& run, Log& log);

}  // namespace metarm
