#include "metarm/explain/row_json.h"

#include <algorithm>
#include <utility>

#include "metarm/explain/difference_attribution.h"
#include "metarm/model/token_tree.h"

namespace metarm {

namespace {

std::size_t shared_tokens(const ExplainRow& row) { return make_token_tree(row.sequences).prompt.size(); }

DifferenceAttribution difference_of(const ExplainRow& row, const RowRewards& model) {
  return difference_attribution(model.attributions[0], model.attributions[1], shared_tokens(row));
}

Json attribution_json(const Attribution& attribution, const TokenPieces& pieces) {
  return {{"tokens", pieces.texts},       {"offsets", pieces.offsets},
          {"values", attribution.values}, {"baseline_reward", attribution.baseline_reward},
          {"error", attribution.error()}, {"points", attribution.points}};
}

Json part_json(std::span<const std::string> texts, const std::vector<double>& values) {
  return {{"tokens", std::vector<std::string>(texts.begin(), texts.end())}, {"values", values}};
}

Json difference_json(const DifferenceAttribution& difference, std::span<const TokenPieces> pieces) {
  const std::size_t shared = difference.shared.size();
  const std::span<const std::string> chosen(pieces[0].texts), rejected(pieces[1].texts);
  return {{"shared", part_json(chosen.first(shared), difference.shared)},
          {"chosen", part_json(chosen.subspan(shared), difference.chosen)},
          {"rejected", part_json(rejected.subspan(shared), difference.rejected)},
          {"baseline_difference", difference.baseline_difference},
          {"error", difference.error()}};
}

Json scaled_json(const ExplainRow& row, const RowRewards& model) {
  std::vector<Json> scaled;
  for (const float reward : model.rewards) scaled.push_back(model.scale.scaled(reward));
  if (!row.is_pair) return {{"rewards", row.by_response(scaled)}};
  return {{"chosen_reward", scaled[0]},
          {"rejected_reward", scaled[1]},
          {"reward_difference", scaled[0].get<double>() - scaled[1].get<double>()}};
}

// How values change, each in units of its model's deviation.
class ValueChange {
 public:
  ValueChange(const RowRewards& before, const RowRewards& after) : before_(before.scale.deviation), after_(after.scale.deviation) {}

  Json operator()(const std::vector<double>& before, const std::vector<double>& after) const {
    Json changes = Json::array();
    for (std::size_t i = 0; i < before.size(); ++i) changes.push_back(after[i] / after_ - before[i] / before_);
    return changes;
  }

 private:
  double before_, after_;
};

Json value_changes(const ExplainRow& row, const RowRewards& before, const RowRewards& after) {
  const ValueChange change(before, after);
  if (row.is_pair) {
    const DifferenceAttribution earlier = difference_of(row, before), later = difference_of(row, after);
    return {{"shared", change(earlier.shared, later.shared)},
            {"chosen", change(earlier.chosen, later.chosen)},
            {"rejected", change(earlier.rejected, later.rejected)}};
  }
  std::vector<Json> lists;
  for (std::size_t i = 0; i < row.sequences.size(); ++i)
    lists.push_back(change(before.attributions[i].values, after.attributions[i].values));
  return row.by_response(lists);
}

Json influences_json(const std::vector<Influence>& influences, const std::vector<ExplainRow>& training) {
  Json list = Json::array();
  for (const Influence& influence : influences) {
    const ExplainRow& row = training[influence.pair];
    Json& entry = list.emplace_back(Json{{"where", row.where}, {"cosine", influence.cosine}, {"dot", influence.dot}});
    if (row.json.contains("id")) entry["id"] = row.json["id"];
  }
  return list;
}

}  // namespace

Json rewards_json(const ExplainRow& row, const RowRewards& model, std::span<const TokenPieces> pieces) {
  std::vector<Json> attributions;
  for (std::size_t i = 0; i < model.attributions.size(); ++i) attributions.push_back(attribution_json(model.attributions[i], pieces[i]));
  Json json;
  if (!row.is_pair) {
    json["rewards"] = row.by_response(std::vector<Json>(model.rewards.begin(), model.rewards.end()));
    if (!attributions.empty()) json["attributions"] = row.by_response(attributions);
    return json;
  }
  json = {{"chosen_reward", model.rewards[0]},
          {"rejected_reward", model.rewards[1]},
          {"reward_difference", static_cast<double>(model.rewards[0]) - model.rewards[1]}};
  if (attributions.empty()) return json;
  json["chosen_attribution"] = std::move(attributions[0]);
  json["rejected_attribution"] = std::move(attributions[1]);
  json["difference_attribution"] = difference_json(difference_of(row, model), pieces);
  return json;
}

Json change_json(const ExplainRow& row, const RowRewards& before, const RowRewards& after) {
  const RowChange change = row_change(before.rewards, after.rewards, before.scale, after.scale);
  Json json = {{"before", scaled_json(row, before)}, {"after", scaled_json(row, after)}};
  json[row.is_pair ? "reward_difference" : "largest_difference"] = change.difference;
  if (row.is_pair)
    json["flipped"] = change.flips > 0;
  else
    json["flips"] = change.flips;
  if (!before.attributions.empty()) json["values"] = value_changes(row, before, after);
  return json;
}

Json influence_json(const Influences& influences, const std::vector<ExplainRow>& training) {
  return {{"up", influences_json(influences.up, training)}, {"down", influences_json(influences.down, training)}};
}

}  // namespace metarm
