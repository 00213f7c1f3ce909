// An ensemble of reward models on disk: a folder with ensemble.json, which names the members' folders and says how their rewards become
// one (docs/methods/ensembles.md).
#pragma once

#include <string>
#include <vector>

#include "metarm/model/aggregate.h"

namespace metarm {

struct EnsembleConfig {
  struct Member {
    std::string directory;           // a reward model's or an adapter's, from the working directory
    double mean = 0, deviation = 1;  // of its rewards on reference pairs; 0 and 1: its rewards count as they are
  };
  std::vector<Member> members;  // at least two
  Aggregate aggregate = Aggregate::mean;
  double uncertainty_weight = 0;  // with Aggregate::uncertainty
};

bool is_ensemble(const std::string& directory);
// Input error where `directory` is an ensemble's: it says which commands take one.
void refuse_ensemble(const std::string& directory);

// Input errors name the file and the field; members that are not there, or are ensembles themselves, are some.
EnsembleConfig load_ensemble_config(const std::string& directory);
// Writes ensemble.json into an existing folder, with the members' paths from there.
void save_ensemble_config(const std::string& directory, const EnsembleConfig& config);

}  // namespace metarm
