// Response groups with the rewards of one or several reward models, and with labels where there are any.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/data/rows.h"

namespace metarm {

struct ScoredGroupFiles {
  std::vector<std::string> groups;    // with `rewards`, as `metarm score` writes them
  std::vector<std::string> ensemble;  // each with another reward model's rewards of the same responses
  std::vector<std::string> gold;      // with rewards that count as labels
  BadRows bad_rows = BadRows::stop;
  double max_overlap = 0;  // of two responses of a group (shingles.h); 0: no bound
  std::int64_t shingle_words = 3;
};

struct ScoredGroup {
  ResponseGroup group;
  std::vector<std::vector<double>> rewards;  // [reward model][response], finite
  std::vector<double> labels;                // one a response, higher is better; NaN: none
};

struct ScoredGroups {
  std::vector<ScoredGroup> groups;
  std::int64_t not_scored = 0;       // responses left out: a reward model has none for them
  std::int64_t near_duplicates = 0;  // responses left out: like one before them in their group
  std::vector<BadRowReport> reports;
};

// The groups with the responses that all reward models scored. Labels are the gold rewards; without gold files, the groups' own field
// `labels`, one number or null a response. Responses in other files are found by prompt and text, so their groups may be divided
// differently. Input errors name file, line and field: a group without rewards, a response that a file of the ensemble lacks, gold files
// that have none of the responses.
ScoredGroups read_scored_groups(const ScoredGroupFiles& files);

}  // namespace metarm
