// How often pseudo-labels are right, where labels are known, and whether their confidence says so.
#pragma once

#include <array>
#include <cstdint>

#include "metarm/base/json_lines.h"
#include "metarm/collect/pseudo_labels.h"

namespace metarm {

struct LabelCount {
  std::int64_t pairs = 0, right = 0;
  double confidence = 0;  // sum over the pairs
};

// Pairs without labels, or with equal ones, are counted apart.
struct LabelAccuracy {
  LabelCount all;
  std::array<LabelCount, 5> bins;  // by confidence: below 0.6, 0.7, 0.8, 0.9, and the rest
  std::int64_t not_labelled = 0;

  void add(const PseudoPair& pair);
};

// {pairs, right, accuracy, confidence, not_labelled, bins: [{from, pairs, right, accuracy, confidence}]}; bins that hold pairs, accuracy
// null without pairs, confidence the mean.
Json to_json(const LabelAccuracy& accuracy);

}  // namespace metarm
