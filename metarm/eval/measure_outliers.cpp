#include "metarm/eval/measure_outliers.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/eval/evaluate.h"

namespace metarm {

namespace {

void check_size(const PromptSequences& reference, double level) {
  const auto least = static_cast<std::size_t>(std::ceil(1 / level - 1 - 1e-9));
  if (reference.prompts.size() < least)
    fail_input(
        "--outlier-level {}: expected a reference of {} responses at least, got {}; more --pairs or --reference-responses, or a "
        "higher level, would do",
        level, least, reference.prompts.size());
}

// `values`, one a sequence, in the shape of the trees.
std::vector<std::vector<float>> by_tree(const std::vector<float>& values, const PromptSequences& sequences) {
  std::vector<std::vector<float>> shaped;
  auto next = values.begin();
  for (const std::vector<TokenIds>& tree : sequences.trees) {
    const auto end = next + static_cast<std::ptrdiff_t>(tree.size());
    shaped.emplace_back(next, end);
    next = end;
  }
  return shaped;
}

}  // namespace

std::int64_t PromptNumbers::of(const Content& prompt) {
  if (is_empty(prompt)) return next_++;
  const auto [found, is_new] = numbers_.emplace(to_json(prompt).dump(), next_);
  next_ += is_new;
  return found->second;
}

std::int64_t PromptNumbers::of(const Pair& pair) { return of(pair.prompt ? *pair.prompt : implicit_prompt(pair.chosen)); }

void PromptSequences::add(std::vector<TokenIds> sequences, std::int64_t prompt) {
  prompts.insert(prompts.end(), sequences.size(), prompt);
  trees.push_back(std::move(sequences));
}

PromptSequences pair_sequences(std::span<const Pair> rows, std::span<const EncodedPair> pairs, PromptNumbers& numbers) {
  PromptSequences sequences;
  for (const EncodedPair& pair : pairs) sequences.add({pair.chosen, pair.rejected}, numbers.of(rows[static_cast<std::size_t>(pair.row)]));
  return sequences;
}

PromptSequences group_sequences(std::span<const ResponseGroup> rows, std::span<const EncodedGroup> groups, PromptNumbers& numbers) {
  PromptSequences sequences;
  for (const EncodedGroup& group : groups) sequences.add(group.responses, numbers.of(rows[static_cast<std::size_t>(group.row)].prompt));
  return sequences;
}

PromptSequences group_sequences(std::span<const ResponseGroup> rows, Encoder& encoder, PromptNumbers& numbers, std::int64_t& too_long) {
  PromptSequences sequences;
  for (const ResponseGroup& row : rows) {
    std::vector<TokenIds> fitting;
    for (std::size_t place = 0; place < row.responses.size(); ++place)
      if (std::optional<TokenIds> tokens = encoder.sequence(row, place)) fitting.push_back(std::move(*tokens));
    too_long += static_cast<std::int64_t>(row.responses.size() - fitting.size());
    if (!fitting.empty()) sequences.add(std::move(fitting), numbers.of(row.prompt));
  }
  return sequences;
}

MeasuredOutliers measure_outliers(const RewardModel& reward_model, const PromptSequences& reference, const PromptSequences& responses,
                                  const OutlierMeasurement& measurement, Ranks& ranks, Log& log) {
  check_size(reference, measurement.level);
  const auto states = [&](const PromptSequences& sequences, const char* of) {
    const auto show = [&](std::int64_t done) {
      log.progress(fmt::format("hidden states of {}", of), done, static_cast<std::int64_t>(sequences.trees.size()), "");
    };
    return PromptStates{hidden_states(ranks, reward_model, sequences.trees, measurement.tokens_per_batch, show), sequences.prompts};
  };
  const OutlierScores scores = outlier_scores(states(reference, "the reference"), states(responses, "responses"), measurement.seed);
  return {outlier_share(scores, responses.prompts, measurement.level), by_tree(scores.distances, responses),
          by_tree(scores.p_values, responses)};
}

}  // namespace metarm
