#include "metarm/meta/shifted_groups.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/eval/evaluate.h"
#include "metarm/eval/k_means.h"
#include "metarm/meta/group_choice.h"
#include "metarm/meta/group_order.h"
#include "metarm/train/group_data.h"

namespace metarm {

namespace {

std::int64_t round_of(const ResponseGroup& row, const char* option) {
  if (row.round < 0) fail_input("{}: {}: expected rows with the field round, got one without", row.where, option);
  return row.round;
}

std::string label_of(const ResponseGroup& row, const std::string& label, const char* field) {
  if (label.empty()) fail_input("{}: --balance-by {}: expected rows with the field {}, got one without", row.where, field, field);
  return label;
}

std::string mode_of(const ResponseGroup& row, BalanceBy balance_by) {
  switch (balance_by) {
    case BalanceBy::none: return "";
    case BalanceBy::subset: return label_of(row, row.subset, "subset");
    case BalanceBy::policy: return label_of(row, row.policy, "policy");
    case BalanceBy::round: return std::to_string(round_of(row, "--balance-by round"));
    case BalanceBy::clusters: return "";  // known with the model
  }
  fail_internal("unknown --balance-by");
}

// "response groups by subset: a: 12, b: 40"
void tell_modes(BalanceBy balance_by, const std::vector<std::string>& modes, Log& log) {
  std::map<std::string, int> counts;
  for (const std::string& mode : modes) ++counts[mode];
  std::string text;
  for (const auto& [mode, count] : counts) text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", mode, count);
  log.info(fmt::format("response groups by {}: {}", enum_name(balance_by), text));
}

// Each group's mean over its responses: float64 [G, D] on the CPU, the same on all ranks.
at::Tensor mean_states(const std::vector<EncodedGroup>& groups, const TrainingSetup& setup, std::int64_t tokens_per_batch) {
  std::vector<std::vector<TokenIds>> sequences;
  for (const EncodedGroup& group : groups) sequences.push_back(group.responses);
  const at::Tensor hidden_BD = hidden_states(setup.ranks, setup.reward_model(), sequences, tokens_per_batch).to(at::kDouble);
  std::vector<at::Tensor> means;
  std::int64_t first = 0;
  for (const EncodedGroup& group : groups) {
    means.push_back(hidden_BD.narrow(0, first, std::ssize(group.responses)).mean(0));
    first += std::ssize(group.responses);
  }
  return at::stack(means);
}

// Without near-duplicates, and without groups that are left with fewer than two responses.
std::vector<ResponseGroup> read_distinct_rows(const AlignOptions& options, Log& log) {
  std::vector<ResponseGroup> rows = read_group_rows(options.responses, options.scoring, log);
  const auto [responses, groups] = drop_near_duplicates(rows, options.max_overlap);
  if (rows.empty() && groups > 0)
    fail_input("--max-overlap: expected groups with two responses that overlap by {} at most, got none of {}; a larger one keeps more",
               options.max_overlap, groups);
  if (responses > 0) log.info(fmt::format("{} responses left out: nearly the same as another one of their group", responses));
  if (groups > 0) log.info(fmt::format("{} groups left out: --max-overlap leaves fewer than two of their responses", groups));
  return rows;
}

}  // namespace

ShiftedGroups load_shifted_groups(const AlignOptions& options, const TrainingSetup& setup, Log& log) {
  const std::vector<ResponseGroup> rows = read_distinct_rows(options, log);
  ShiftedGroups shifted{encode_groups(rows, setup.encoder(options.scoring.max_length), options.scoring, log), {}, {}};

  std::vector<std::int64_t> rounds;
  for (const EncodedGroup& group : shifted.groups) {
    const ResponseGroup& row = rows[static_cast<std::size_t>(group.row)];
    shifted.modes.push_back(mode_of(row, options.balance_by));
    if (options.recency_half_life > 0) rounds.push_back(round_of(row, "--recency-half-life"));
  }
  if (options.balance_by != BalanceBy::none && options.balance_by != BalanceBy::clusters)
    tell_modes(options.balance_by, shifted.modes, log);
  if (!rounds.empty()) shifted.weights = recency_weights(rounds, options.recency_half_life);
  return shifted;
}

void find_modes(ShiftedGroups& shifted, const AlignOptions& options, TrainingSetup& setup, Log& log) {
  const auto count = static_cast<std::int64_t>(shifted.groups.size());
  if (count < options.clusters) fail_input("--clusters: expected no more than the {} response groups, got {}", count, options.clusters);
  setup.trainable->load_compute();
  const at::Tensor mean_GD = mean_states(shifted.groups, setup, options.scoring.tokens_per_batch);
  const auto seed = static_cast<std::uint64_t>(options.common.seed);
  shifted.modes.clear();
  for (const std::int64_t cluster : k_means(mean_GD, options.clusters, seed)) shifted.modes.push_back(std::to_string(cluster + 1));
  tell_modes(options.balance_by, shifted.modes, log);
}

void keep_hardest(ShiftedGroups& shifted, const AlignOptions& options, TrainingSetup& setup, Log& log) {
  setup.trainable->load_compute();
  const std::vector<std::vector<float>> rewards =
      score_responses(setup.ranks, setup.reward_model(), shifted.groups, options.scoring.tokens_per_batch).rewards;
  const std::vector<std::int64_t> chosen = hardest_groups(rewards, shifted.modes, options.hard_groups);
  ShiftedGroups kept;
  for (const std::int64_t i : chosen) {
    const auto place = static_cast<std::size_t>(i);
    kept.groups.push_back(std::move(shifted.groups[place]));
    kept.modes.push_back(std::move(shifted.modes[place]));
    if (!shifted.weights.empty()) kept.weights.push_back(shifted.weights[place]);
  }
  log.info(fmt::format("{} of {} response groups kept: those that are told apart least", chosen.size(), rewards.size()));
  shifted = std::move(kept);
}

}  // namespace metarm
