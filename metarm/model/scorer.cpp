#include "metarm/model/scorer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/model/distinct_rows.h"
#include "metarm/model/partial_pass.h"
#include "metarm/model/spec_difference.h"

namespace metarm {

namespace {

bool is_same(const at::Tensor& a, const at::Tensor& b) {
  return a.defined() == b.defined() && (!a.defined() || (a.const_data_ptr() == b.const_data_ptr() && a.sizes() == b.sizes()));
}

// The first layers that both have in common, tensor by tensor and without updates; never the last one, which reads rewards' tokens alone.
std::int64_t count_shared_layers(const Model& a, const Model& b) {
  if (!spec_difference(a.spec, b.spec).empty()) return 0;
  std::int64_t shared = a.spec.layers - 1;
  for (const Model* model : {&a, &b})
    for (const LowRankUpdate& update : model->updates) shared = std::min(shared, update.layer);
  for (const SlotInfo& slot : a.weights.slots()) {
    if (is_same(a.weights.at(slot.slot, slot.layer), b.weights.at(slot.slot, slot.layer))) continue;
    if (is_layer_slot(slot.slot))
      shared = std::min(shared, slot.layer);
    else if (slot.slot == Slot::token_embedding || slot.slot == Slot::position_embedding)
      return 0;
  }
  return shared;
}

}  // namespace

Scorer::Scorer(RewardModel reward_model) { members_.push_back({std::move(reward_model)}); }

Scorer::Scorer(std::vector<EnsembleMember> members, Aggregate aggregate, double uncertainty_weight)
    : members_(std::move(members)), is_ensemble_(true), aggregate_(aggregate), uncertainty_weight_(uncertainty_weight) {
  if (members_.empty()) fail_internal("Scorer: expected at least one member, got none");
  find_trunks();
}

// A member joins where that makes all passes together shorter: with m members over s layers of n before and t after, m (n - s) + s and n
// against (m + 1) (n - t) + t.
void Scorer::find_trunks() {
  for (std::size_t i = 0; i < members_.size(); ++i) {
    const Model& model = members_[i].reward_model.model;
    bool joined = false;
    for (Trunk& trunk : trunks_) {
      const auto count = static_cast<std::int64_t>(trunk.members.size());
      const std::int64_t shared =
          std::min(trunk.shared_layers, count_shared_layers(members_[trunk.members.front()].reward_model.model, model));
      joined = count * shared > (count - 1) * trunk.shared_layers;
      if (!joined) continue;
      trunk.members.push_back(i);
      trunk.shared_layers = shared;
      break;
    }
    if (!joined) trunks_.push_back({{i}, model.spec.layers - 1});
  }
}

// [B] of each member.
std::vector<at::Tensor> Scorer::member_rewards(const Batch& batch) const {
  std::vector<at::Tensor> rewards(members_.size());
  for (const Trunk& trunk : trunks_) {
    const Model& first = members_[trunk.members.front()].reward_model.model;
    const at::Tensor shared_ND = run_layer_range(first, batch, {0, trunk.shared_layers}, embed_batch(first, batch));
    for (const std::size_t i : trunk.members) {
      const RewardModel& member = members_[i].reward_model;
      const DistinctRows pooled(pooled_tokens(batch, member.pooling, member.pad_token_id));
      const at::Tensor hidden =
          run_layer_range(member.model, batch, {trunk.shared_layers, member.model.spec.layers}, shared_ND, pooled.rows());
      rewards[i] = pooled.spread(head_rewards(member.model, hidden)).cpu();
    }
  }
  return rewards;
}

std::vector<std::vector<std::vector<float>>> Scorer::score_members(std::span<const std::vector<TokenIds>> groups,
                                                                   std::int64_t tokens_per_batch, const GroupsDone& progress) const {
  if (!is_ensemble_) return {score_groups(members_.front().reward_model, groups, tokens_per_batch, progress)};
  const at::NoGradGuard no_grad;
  const std::vector<TokenTree> trees = make_token_trees(groups);
  std::vector<std::vector<std::vector<float>>> rewards(members_.size(), std::vector<std::vector<float>>(groups.size()));
  for (const TreeRange range : pack_trees(trees, tokens_per_batch)) {
    const Batch batch = make_batch(std::span(trees).subspan(range.begin, range.end - range.begin));
    const std::vector<at::Tensor> of_members = batch.row_count() > 0 ? member_rewards(batch) : std::vector<at::Tensor>();
    for (std::size_t m = 0; m < of_members.size(); ++m) {
      const float* next = of_members[m].const_data_ptr<float>();
      for (std::size_t i = range.begin; i < range.end; ++i) {
        rewards[m][i].assign(next, next + groups[i].size());
        next += groups[i].size();
      }
    }
    if (progress) progress(static_cast<std::int64_t>(range.end));
  }
  return rewards;
}

GroupRewards Scorer::score(std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch, const GroupsDone& progress) const {
  std::vector<std::vector<std::vector<float>>> of_members = score_members(groups, tokens_per_batch, progress);
  if (!is_ensemble_) return {std::move(of_members.front())};
  GroupRewards scored;
  std::vector<double> rewards(members_.size());
  for (std::size_t i = 0; i < groups.size(); ++i) {
    scored.rewards.emplace_back();
    scored.deviations.emplace_back();
    for (std::size_t j = 0; j < groups[i].size(); ++j) {
      for (std::size_t m = 0; m < members_.size(); ++m) rewards[m] = (of_members[m][i][j] - members_[m].mean) / members_[m].deviation;
      const CombinedReward combined = combine_rewards(rewards, aggregate_, uncertainty_weight_);
      scored.rewards.back().push_back(static_cast<float>(combined.reward));
      scored.deviations.back().push_back(static_cast<float>(combined.deviation));
    }
  }
  return scored;
}

std::int64_t Scorer::layers_a_pass() const {
  if (!is_ensemble_) return members_.front().reward_model.model.spec.layers;
  std::int64_t layers = 0;
  for (const Trunk& trunk : trunks_) {
    layers += trunk.shared_layers;
    for (const std::size_t i : trunk.members) layers += members_[i].reward_model.model.spec.layers - trunk.shared_layers;
  }
  return layers;
}

const RewardModel& Scorer::only(const char* for_what) const {
  if (is_ensemble_) fail_input("{}: expected one reward model, got an ensemble of {}; name one of its members", for_what, members_.size());
  return members_.front().reward_model;
}

std::int64_t Scorer::vocab_size() const {
  std::int64_t least = members_.front().reward_model.model.spec.vocab_size;
  for (const EnsembleMember& member : members_) least = std::min(least, member.reward_model.model.spec.vocab_size);
  return least;
}

std::vector<Weights*> Scorer::weights() {
  std::vector<Weights*> all;
  for (EnsembleMember& member : members_) all.push_back(&member.reward_model.model.weights);
  return all;
}

}  // namespace metarm
