// What aligning is told beyond training: the method, the meta step, where the shifted responses and the policies are.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/model/common_options.h"
#include "metarm/train/consistency_step.h"
#include "metarm/train/training_options.h"

namespace metarm {

enum class Method {
  meta,        // MetaRM: the pairwise gradient at θ' = θ + the meta step
  joint,       // descends L − λJ at θ
  importance,  // further training on pairs weighted by what the current policy thinks of them (importance.h)
  none,        // ordinary further training on the pairs
};
template <>
struct EnumNames<Method> {
  static constexpr std::pair<Method, const char*> values[] = {
      {Method::meta, "meta"}, {Method::joint, "joint"}, {Method::importance, "importance"}, {Method::none, "none"}};
};

enum class MetaScale {
  absolute,    // η ∇J, the paper's
  normalized,  // η ∇J/‖∇J‖: η is a length
  adam,        // η times the Adam direction of ∇J
};
template <>
struct EnumNames<MetaScale> {
  static constexpr std::pair<MetaScale, const char*> values[] = {
      {MetaScale::absolute, "absolute"}, {MetaScale::normalized, "normalized"}, {MetaScale::adam, "adam"}};
};

enum class MetaOrder { first, second };
template <>
struct EnumNames<MetaOrder> {
  static constexpr std::pair<MetaOrder, const char*> values[] = {{MetaOrder::first, "first"}, {MetaOrder::second, "second"}};
};

enum class MetaAdaptTarget { meta_lr, interval, both };
template <>
struct EnumNames<MetaAdaptTarget> {
  static constexpr std::pair<MetaAdaptTarget, const char*> values[] = {
      {MetaAdaptTarget::meta_lr, "meta-lr"}, {MetaAdaptTarget::interval, "interval"}, {MetaAdaptTarget::both, "both"}};
};

enum class BalanceBy { none, subset, policy, round, clusters };
template <>
struct EnumNames<BalanceBy> {
  static constexpr std::pair<BalanceBy, const char*> values[] = {{BalanceBy::none, "none"},
                                                                 {BalanceBy::subset, "subset"},
                                                                 {BalanceBy::policy, "policy"},
                                                                 {BalanceBy::round, "round"},
                                                                 {BalanceBy::clusters, "clusters"}};
};

struct AlignOptions {
  std::string model;
  std::vector<std::string> pairs, responses;
  std::string output;
  Method method = Method::meta;
  double meta_lr = 0.02;
  MetaScale meta_scale = MetaScale::normalized;
  MetaOrder meta_order = MetaOrder::first;
  std::int64_t meta_batch_size = 8;
  BalanceBy balance_by = BalanceBy::none;
  std::int64_t clusters = 4;
  double recency_half_life = 0;
  double hard_groups = 1;
  double max_overlap = 0;
  double meta_adapt = 0;
  double meta_backoff = 1;
  MetaAdaptTarget meta_adapt_target = MetaAdaptTarget::meta_lr;
  std::int64_t max_meta_interval = 10;
  double joint_weight = 0.1;
  std::string policy, reference_policy;
  double importance_temperature = 0.01;
  ConsistencyOptions consistency;
  RewardTrainingOptions training;
  ScoringOptions scoring{{.tokens_per_batch = 2048}};
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model,
          {.name = "model", .help = "The reward model to align: a Hugging Face directory or a PEFT adapter's.", .required = true});
    visit(self.pairs, {.name = "pairs", .help = "The old preference pairs, JSON lines, .gz accepted. [paper X_t]", .required = true});
    RewardTrainingOptions::bootstrap_field(self.training, visit);
    visit(self.responses, {.name = "responses",
                           .help = "Response groups of the current policy, two or more responses each. Without a step on J (--method "
                                   "importance, none) they may be left out: J is measured where they are given. [paper X_s]"});
    visit(self.output, {.name = "output",
                        .help = "The run's folder: the aligned model, metrics, checkpoints. It must not exist, but for --resume.",
                        .required = true});
    visit(self.method,
          {.name = "method",
           .help = "meta: MetaRM; joint: descend L - lambda J; importance: further training on the pairs, each weighted by how "
                   "much likelier --policy is to write it than --reference-policy; none: further training on the pairs."});
    visit(
        self.meta_lr,
        {.name = "meta-lr", .help = "Meta learning rate: how far the meta step goes, in the unit of --meta-scale. [paper eta]", .min = 0});
    visit(self.meta_scale,
          {.name = "meta-scale",
           .help = "absolute: eta grad J, as the paper; normalized: a step of length eta; adam: eta times Adam's direction."});
    visit(self.meta_order,
          {.name = "meta-order", .help = "first: the gradient at the shifted weights, as the paper; second: through the meta step."});
    visit(self.meta_batch_size, {.name = "meta-batch-size", .help = "Response groups a step. [paper m]", .min = 1, .needs = "responses"});
    visit(self.balance_by,
          {.name = "balance-by",
           .help = "Modes of the shifted responses, which get equal parts of the meta steps: by the rows' subset, policy or "
                   "round; clusters: found in --model's hidden states; none: as many as there are.",
           .needs = "responses"});
    visit(self.clusters, {.name = "clusters", .help = "How many, for --balance-by clusters.", .min = 2, .max = 1000});
    visit(
        self.recency_half_life,
        {.name = "recency-half-life",
         .help = "Rounds after which a response group is drawn half as often as one of the newest round, by the rows' round; 0: all alike.",
         .min = 0,
         .needs = "responses"});
    visit(self.hard_groups, {.name = "hard-groups",
                             .help = "Share of the response groups to keep, those that --model tells apart least; 1: all.",
                             .min = 0.001,
                             .max = 1,
                             .needs = "responses"});
    visit(self.max_overlap,
          {.name = "max-overlap",
           .help = "A response whose shingles of three words overlap more with one before it in its group is left out; 0: "
                   "none is.",
           .min = 0,
           .max = 1,
           .needs = "responses"});
    visit(self.meta_adapt, {.name = "meta-adapt",
                            .help = "How fast each mode's meta learning rate follows the agreement of the two gradients: times exp(-this * "
                                    "meta_cosine) after each of its steps, up to 10 times --meta-lr or a tenth of it; 0: it stays.",
                            .min = 0,
                            .max = 10});
    visit(self.meta_backoff, {.name = "meta-backoff",
                              .help = "Times this for all meta learning rates after each evaluation whose held-out loss is not below the "
                                      "lowest before it, down to a tenth of --meta-lr; 1: they stay.",
                              .min = 0.01,
                              .max = 1,
                              .needs = "eval-steps"});
    visit(
        self.meta_adapt_target,
        {.name = "meta-adapt-target",
         .help = "What --meta-adapt and --meta-backoff move. meta-lr: how far the meta step goes; interval: every how many of its turns a "
                 "mode takes one, from 1, divided by what multiplies the meta learning rate; both."});
    visit(self.max_meta_interval,
          {.name = "max-meta-interval", .help = "The interval at most: one meta step in so many turns.", .min = 2, .max = 1000});
    visit(self.joint_weight, {.name = "joint-weight", .help = "Weight of J for --method joint. [lambda]", .min = 0});
    visit(self.policy, {.name = "policy",
                        .help = "Causal language model that the reward model is to judge now, for --method importance. [OCRM pi]",
                        .needs = "reference-policy"});
    visit(self.reference_policy,
          {.name = "reference-policy", .help = "Causal language model that wrote the pairs, of --policy's tokenizer.", .needs = "policy"});
    visit(self.importance_temperature,
          {.name = "importance-temperature",
           .help = "Share of a pair's log ratio that its weight takes: 0 weighs all pairs alike, 1 by the ratio itself. [OCRM: 0.01]",
           .min = 0,
           .needs = "policy"});
    ConsistencyOptions::fields(self.consistency, visit);
    RewardTrainingOptions::fields(self.training, visit);
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

}  // namespace metarm
