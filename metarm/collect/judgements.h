// What `metarm judge --output` wrote, as pairs: the response that won is the chosen one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/collect/collected_pair.h"

namespace metarm {

struct Judgements {
  std::vector<CollectedPair> pairs;  // kind judged; a tie where the judge saw one
  std::int64_t not_judged = 0;       // rows without an outcome, or with equal responses
  BadRowReport report;
};

// Rows {prompt, a, b, outcome: win, tie, lose or null, optional a_reward, b_reward}. Confidence: σ(|a_reward − b_reward| / temperature)
// of a reward model's win or loss; a language model's has none, since it had to say the same twice.
Judgements read_judgements(const std::vector<std::string>& files, BadRows bad_rows, double temperature);

}  // namespace metarm
