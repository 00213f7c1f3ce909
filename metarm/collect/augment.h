// More pairs to train a reward model on, made of labelled pairs, scored response groups and judgements: what `metarm augment` does.
// docs/methods/augment.md says what each part is and when it helps.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/collect/augment_options.h"
#include "metarm/collect/label_accuracy.h"
#include "metarm/collect/label_gap.h"

namespace metarm {

struct LengthReport {
  double longer_before = 0, longer_after = 0;  // share of the weight whose chosen response is the longer one
  std::int64_t left_out = 0;
  double effective_share = 0;  // (Σ w)² / (n Σ w²) of the pairs left
};

struct AugmentSummary {
  std::int64_t rows = 0;                      // written
  std::map<std::string, std::int64_t> kinds;  // pairs of each kind; a tie is one pair and two rows
  std::map<std::string, std::int64_t> left_out;
  std::vector<double> temperatures;  // a reward model each
  double threshold = 0;              // of confidence
  LabelAccuracy candidates, kept;    // of pseudo-labels before and after the threshold
  std::optional<LengthReport> length;
};

// Reads, makes, and writes the output whole or not at all. A function of the files, the options and the seed, and of --rm, with which
// `reward_differences` is called once, with the synthetic pairs. Input errors: bad rows, options that do not fit together, nothing to
// write.
AugmentSummary augment(const AugmentOptions& options, const Parsed& parsed, const RewardDifferences& reward_differences, Log& log);

Json to_json(const AugmentSummary& summary);

}  // namespace metarm
