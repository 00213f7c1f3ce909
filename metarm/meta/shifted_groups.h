// The shifted responses of an alignment: read, encoded, chosen, with the mode and the weight of each group.
#pragma once

#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/data/encode.h"
#include "metarm/meta/align_options.h"
#include "metarm/train/training_setup.h"

namespace metarm {

struct ShiftedGroups {
  std::vector<EncodedGroup> groups;
  std::vector<std::string> modes;  // of each group, by --balance-by; for clusters set by find_modes
  std::vector<double> weights;     // of each group, by --recency-half-life; empty: all alike
};

// The rows of --responses, less near-duplicates. What was left out, and the modes, go to the log. Input errors for bad rows, for rows
// without the field that --balance-by or --recency-half-life asks for, and where no group is left.
ShiftedGroups load_shifted_groups(const AlignOptions& options, const TrainingSetup& setup, Log& log);

// --balance-by clusters: modes are clusters (eval/k_means.h) of groups by the loaded reward model's hidden states, a group's being the mean
// of its responses'. Named "1", "2", ... by their first groups. Input error for fewer groups than clusters. All ranks together.
void find_modes(ShiftedGroups& shifted, const AlignOptions& options, TrainingSetup& setup, Log& log);

// Leaves those that the loaded reward model tells apart least (--hard-groups). All ranks together.
void keep_hardest(ShiftedGroups& shifted, const AlignOptions& options, TrainingSetup& setup, Log& log);

}  // namespace metarm
