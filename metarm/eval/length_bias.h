// Whether a reward model prefers long responses. Lengths are characters (Unicode code points) of the response alone: the same for every
// tokenizer.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/eval/statistics.h"

namespace metarm {

// Of what follows the prompt; for a whole text or conversation without an explicit one, of what follows implicit_prompt (data/rows.h).
double response_characters(const std::optional<Content>& prompt, const Content& response);

// Pearson's correlation of rewards and lengths after each group's own means are taken off, so that groups do not count for the prompts that
// they answer: Σ (r − r̄_g)(l − l̄_g) / sqrt(Σ (r − r̄_g)² Σ (l − l̄_g)²). With one group, the ordinary correlation. A NaN reward is left
// out with its length. NaN where rewards or lengths do not vary.
double length_correlation(std::span<const std::vector<float>> rewards, std::span<const std::vector<double>> lengths);

struct LengthShare {
  std::int64_t pairs = 0;
  double accuracy = std::numeric_limits<double>::quiet_NaN();  // share with chosen > rejected; ties count as wrong. NaN without pairs
  Interval interval{accuracy, accuracy};
};
struct LengthBias {
  double correlation = 0;              // over all responses of the pairs
  double within_correlation = 0;       // within pairs
  LengthShare longer, shorter, equal;  // pairs by the chosen response's length beside the rejected one's
};
struct PairLengths {
  double chosen, rejected;
};
LengthBias length_bias(std::span<const PairRewards> rewards, std::span<const PairLengths> lengths);

}  // namespace metarm
