// Outliers (outliers.h) among response groups, by the hidden states of a reward model.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/eval/outliers.h"
#include "metarm/eval/prompt_spread.h"
#include "metarm/model/reward_model.h"

namespace metarm {

// A number for each prompt; a text that shows no prompt has one of its own.
class PromptNumbers {
 public:
  std::int64_t of(const Content& prompt);
  std::int64_t of(const Pair& pair);

 private:
  std::map<std::string, std::int64_t> numbers_;
  std::int64_t next_ = 0;
};

// Token sequences, those that make one token tree together, and the number of each one's prompt.
struct PromptSequences {
  std::vector<std::vector<TokenIds>> trees;
  std::vector<std::int64_t> prompts;
  void add(std::vector<TokenIds> sequences, std::int64_t prompt);
};
PromptSequences pair_sequences(std::span<const Pair> rows, std::span<const EncodedPair> pairs, PromptNumbers& numbers);
PromptSequences group_sequences(std::span<const ResponseGroup> rows, std::span<const EncodedGroup> groups, PromptNumbers& numbers);
// Of all responses that fit, of a group's only one too; `too_long` counts the others.
PromptSequences group_sequences(std::span<const ResponseGroup> rows, Encoder& encoder, PromptNumbers& numbers, std::int64_t& too_long);

struct OutlierMeasurement {
  double level = 0.01;
  std::uint64_t seed = 0;
  std::int64_t tokens_per_batch = 0;
};
struct MeasuredOutliers {
  OutlierShare share;
  std::vector<std::vector<float>> distances, p_values;  // a vector a tree of the responses
};
// Input error for a reference of fewer than 1 / level responses. All ranks together.
MeasuredOutliers measure_outliers(const RewardModel& reward_model, const PromptSequences& reference, const PromptSequences& responses,
                                  const OutlierMeasurement& measurement, Ranks& ranks, Log& log);

}  // namespace metarm
