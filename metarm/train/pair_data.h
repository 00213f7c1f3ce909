// The pairs that a reward model learns from and is evaluated on, for training and alignment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/eval/statistics.h"
#include "metarm/train/loop.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct PairData {
  std::vector<EncodedPair> pairs, held_out;
};

// Reads both; notes on what was left out go to the log. Input errors for bad rows, and where no pair is left.
PairData load_pair_data(const TrainingSetup& setup, const std::vector<std::string>& pairs, const std::vector<std::string>& held_out,
                        const ScoringOptions& scoring, Log& log);

// Of a reward model, or of a policy's implicit rewards.
HeldOutFigures to_held_out_figures(const PairStatistics& statistics);

// All but the gradient and the state of an objective whose steps take pairs; both arguments must outlive it.
Objective make_pair_objective(const char* name, const TrainingSetup& setup, const PairData& data, std::int64_t steps_per_epoch,
                              std::int64_t tokens_per_batch);

}  // namespace metarm
