// What gives rewards to the commands that score: one reward model, or an ensemble whose members' rewards are combined
// (docs/methods/ensembles.md).
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "metarm/model/aggregate.h"
#include "metarm/model/reward_model.h"

namespace metarm {

struct EnsembleMember {
  RewardModel reward_model;
  double mean = 0, deviation = 1;  // of its rewards on reference pairs: (reward - mean) / deviation is what is combined
};

class Scorer {
 public:
  using GroupsDone = std::function<void(std::int64_t done)>;

  Scorer(RewardModel reward_model);  // not explicit: a reward model is a scorer
  // Members (at least one) read the same tokens. Members that share tensors with one before (adapters over one base, or after
  // hold_equal_tensors_once) share its pass through the layers below the first that differs.
  Scorer(std::vector<EnsembleMember> members, Aggregate aggregate, double uncertainty_weight);

  // As score_groups of model/reward_model.h, and of an ensemble with deviations. Neither the order nor the company of a sequence changes
  // its reward beyond rounding; a member's reward is the one that it gives alone.
  GroupRewards score(std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch, const GroupsDone& progress = {}) const;
  // What each member gives by itself, not standardised: one entry a member, in the shape of `groups`.
  std::vector<std::vector<std::vector<float>>> score_members(std::span<const std::vector<TokenIds>> groups, std::int64_t tokens_per_batch,
                                                             const GroupsDone& progress = {}) const;

  bool is_ensemble() const { return is_ensemble_; }
  std::span<const EnsembleMember> members() const { return members_; }
  std::int64_t layers_a_pass() const;  // layers that a batch goes through, shared ones counted once
  // The one reward model. Input error for an ensemble, naming what (`for_what`) needs one.
  const RewardModel& only(const char* for_what) const;
  std::int64_t vocab_size() const;  // token ids that every member knows are below
  std::vector<Weights*> weights();  // of the members, which nothing moves

 private:
  // Members whose passes begin as one.
  struct Trunk {
    std::vector<std::size_t> members;
    std::int64_t shared_layers = 0;
  };
  void find_trunks();
  std::vector<at::Tensor> member_rewards(const Batch& batch) const;

  std::vector<EnsembleMember> members_;
  std::vector<Trunk> trunks_;
  bool is_ensemble_ = false;
  Aggregate aggregate_ = Aggregate::mean;
  double uncertainty_weight_ = 0;
};

}  // namespace metarm
