// The training loop: steps, learning rate, clipping, when to evaluate, metrics, checkpoints, resuming. What the gradient is of, and what an
// evaluation measures, is the caller's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "metarm/base/json_lines.h"
#include "metarm/train/run_directory.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct HeldOutFigures {
  Json figures;      // to record: eval_..., eval_loss among them where --early-stopping-patience is to judge by it
  Json summary;      // what the command says at its end
  std::string text;  // for people
};

// Makes the gradient of update `update` (from 0) of step `step` (from 0) at the master weights, each rank its own part of `gradient`, zeros
// of [total], and returns figures of the step so far. A function of the step, the weights at its first update, and the state alone, so that
// a resumed run repeats it.
using AddGradient = std::function<Json(std::int64_t step, std::int64_t update, at::Tensor& gradient)>;

// A model that is trained beside the first one, an update after each of its updates, by an optimizer of its own.
struct SecondModel {
  TrainingSetup& setup;
  const char* name;  // its folder in the run's and in checkpoints, and the beginning of its learning_rate and gradient_norm
  double lr;
  bool merge_lora;
  AddGradient add_gradient;
};

struct Objective {
  const char* name = "training";  // in the progress shown
  const char* rows = "pairs";     // what a step works on: figures count them under this name
  std::int64_t steps_per_epoch = 1;
  std::int64_t updates_per_step = 1;
  AddGradient add_gradient;  // figures of the last update: at least `rows` and tokens
  std::optional<SecondModel> second;
  std::function<std::string(const Json& figures)> progress;  // a few words on a step's figures, of which any may be absent
  std::function<HeldOutFigures()> evaluate;                  // at the master weights; empty: there is nothing to evaluate on
  RunState state;                                            // what else a resumed run needs
};

// "name 0.123", or "name nan" where the figure is absent.
std::string figure_text(const Json& figures, const char* name);

struct TrainingSummary {
  std::int64_t steps = 0;
  std::int64_t skipped_steps = 0;  // of a resumed run, those before too
  double seconds = 0;
  std::int64_t peak_memory_bytes = 0;  // of the process
  Json last;                           // the last step's figures
  Json evaluation;                     // the last one's summary; null: none
};

// All ranks together. Runs to the end from the run's last checkpoint and writes the finished model. A step whose gradient is not finite is
// skipped and counted; ten in a row are an error, and so are two at the end. A checkpoint is good once the step after it was taken: only
// then do older ones go, so that a run that diverges leaves the last good one. With
// --early-stopping-patience the best evaluation so far has a checkpoint, which stays, and the finished model is that one. An input error of
// a step or an evaluation names the last good checkpoint.
TrainingSummary run_training(TrainingSetup& setup, const Objective& objective, const TrainingOptions& training, RunDirectory& run,
                             Log& log);

Json to_json(const TrainingSummary& summary, const std::string& output);
std::string to_text(const TrainingSummary& summary, const std::string& output);

}  // namespace metarm
