#include "metarm/eval/prompt_spread.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "metarm/base/error.h"
#include "metarm/eval/rank_agreement.h"
#include "metarm/eval/statistics.h"

namespace metarm {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double scaled_spread(const GroupScores& scores, std::size_t group) {
  return scores.deviation > 0 ? reward_spread(scores.rewards[group]) / scores.deviation : kNone;
}

std::string key_of(const ResponseGroup& group) {
  Json responses = Json::array();
  for (const Content& response : group.responses) responses.push_back(to_json(response));
  return to_json(group.prompt).dump() + responses.dump();
}

// The fields of `score`'s rows for pairs; null where the response was too long.
void add_pair(const JsonRow& row, std::vector<PairRewards>& pairs) {
  const std::string where = row.where();
  for (const char* field : {"chosen_reward", "rejected_reward"})
    if (require_field(row.value, field, where).is_null()) return;
  pairs.push_back({static_cast<float>(number_field(row.value, "chosen_reward", where)),
                   static_cast<float>(number_field(row.value, "rejected_reward", where))});
}

}  // namespace

double reward_spread(std::span<const float> rewards) {
  double sum = 0, pairs = 0;
  for (std::size_t i = 0; i < rewards.size(); ++i) {
    for (std::size_t j = i + 1; j < rewards.size(); ++j) {
      const double difference = std::abs(static_cast<double>(rewards[i]) - rewards[j]);
      if (std::isnan(difference)) continue;
      sum += difference;
      ++pairs;
    }
  }
  return pairs > 0 ? sum / pairs : kNone;
}

SpreadLoss spread_loss(const GroupScores& before, const GroupScores& after) {
  if (before.rewards.size() != after.rewards.size()) fail_internal("spread_loss: expected the same groups");
  double sum_before = 0, sum_after = 0, lost = 0;
  SpreadLoss loss;
  for (std::size_t i = 0; i < after.rewards.size(); ++i) {
    const double earlier = scaled_spread(before, i), later = scaled_spread(after, i);
    if (std::isnan(earlier) || std::isnan(later)) continue;
    ++loss.groups;
    sum_before += earlier;
    sum_after += later;
    lost += earlier > later;
  }
  if (loss.groups == 0) return loss;
  const auto groups = static_cast<double>(loss.groups);
  loss.before = sum_before / groups;
  loss.after = sum_after / groups;
  loss.loss = loss.before - loss.after;
  loss.share_lost = lost / groups;
  return loss;
}

std::vector<Json> prompt_rows(std::span<const ResponseGroup> groups, const GroupScores& scores,
                              const std::vector<std::vector<float>>* second, const GroupScores* before, const GroupOutliers* outliers) {
  std::vector<std::pair<double, Json>> rows;  // what they are sorted by, ascending
  for (std::size_t i = 0; i < groups.size(); ++i) {
    Json row = to_json(groups[i]);
    const double spread = scaled_spread(scores, i);
    row["rewards"] = scores.rewards[i];
    if (!scores.member_deviations.empty()) row["rewards_std"] = scores.member_deviations[i];
    row["spread"] = reward_spread(scores.rewards[i]);
    row["scaled_spread"] = spread;
    row["reward_deviation"] = scores.deviation;
    if (second != nullptr) {
      row["second_rewards"] = (*second)[i];
      row["tau_b"] = kendall_tau_b(scores.rewards[i], (*second)[i]);
    }
    if (outliers != nullptr) row.update({{"outlier_distances", outliers->distances[i]}, {"outlier_p_values", outliers->p_values[i]}});
    double key = spread;
    if (before != nullptr) {
      const double earlier = scaled_spread(*before, i);
      row["before_rewards"] = before->rewards[i];
      row["before_scaled_spread"] = earlier;
      row["spread_loss"] = earlier - spread;
      key = spread - earlier;
    }
    rows.emplace_back(std::isnan(key) ? std::numeric_limits<double>::infinity() : key, std::move(row));
  }
  std::ranges::stable_sort(rows, {}, &std::pair<double, Json>::first);
  std::vector<Json> sorted;
  for (auto& [key, row] : rows) sorted.push_back(std::move(row));
  return sorted;
}

GroupScores read_group_scores(const std::string& file, std::span<const ResponseGroup> groups) {
  std::map<std::string, std::vector<float>> known;
  std::vector<PairRewards> pairs;
  GroupScores scores;
  for_each_row({file}, BadRows::stop, [&](const JsonRow& row) {
    if (!row.value.contains("responses")) return add_pair(row, pairs);
    const ResponseGroup group = parse_response_group(row, 1);
    if (group.rewards.empty()) fail_input("{}: rewards: expected a scored response group, got none; `metarm score` adds them", group.where);
    known[key_of(group)].assign(group.rewards.begin(), group.rewards.end());
    if (row.value.contains("reward_deviation")) scores.deviation = number_field(row.value, "reward_deviation", group.where);
  });
  if (!pairs.empty()) scores.deviation = pair_statistics(pairs).reward_deviation;
  if (!(scores.deviation > 0))
    fail_input(
        "{}: expected scored pairs beside the response groups, for the rewards' deviation, got none; `metarm score --input PAIRS "
        "RESPONSES` writes both",
        file);
  for (const ResponseGroup& group : groups) {
    const auto found = known.find(key_of(group));
    if (found == known.end()) fail_input("{}: expected the rewards of every response group, got none of {}", file, group.where);
    scores.rewards.push_back(found->second);
  }
  return scores;
}

}  // namespace metarm
