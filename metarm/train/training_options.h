// What every training is told: the optimizer, the schedule, what is trained, what is written down on the way.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/base/options.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/common_options.h"
#include "metarm/model/lora.h"
#include "metarm/train/layer_rates.h"

namespace metarm {

enum class OptimizerKind { adamw, sgd };
template <>
struct EnumNames<OptimizerKind> {
  static constexpr std::pair<OptimizerKind, const char*> values[] = {{OptimizerKind::adamw, "adamw"}, {OptimizerKind::sgd, "sgd"}};
};

enum class MomentDType { float32, bfloat16 };
template <>
struct EnumNames<MomentDType> {
  static constexpr std::pair<MomentDType, const char*> values[] = {{MomentDType::float32, "float32"}, {MomentDType::bfloat16, "bfloat16"}};
};

enum class ScheduleKind { constant, linear, cosine };
template <>
struct EnumNames<ScheduleKind> {
  static constexpr std::pair<ScheduleKind, const char*> values[] = {
      {ScheduleKind::constant, "constant"}, {ScheduleKind::linear, "linear"}, {ScheduleKind::cosine, "cosine"}};
};

// A training adds `kEvalData`, the name of its option for held-out rows.
struct TrainingOptions {
  double lr = 1e-5;
  ScheduleKind lr_schedule = ScheduleKind::linear;
  double warmup_ratio = 0;
  std::int64_t batch_size = 16;
  double epochs = 1;
  std::int64_t max_steps = 0;
  OptimizerKind optimizer = OptimizerKind::adamw;
  MomentDType optimizer_dtype = MomentDType::float32;
  double weight_decay = 0;
  double l2_sp = 0;
  std::int64_t freeze_layers = 0;
  double layer_lr_decay = 1;
  std::int64_t unfreeze_every = 0;
  double max_grad_norm = 1;
  double dropout = 0;
  bool shuffle = true;
  bool gradient_checkpointing = false;
  std::int64_t lora_rank = 0;
  double lora_alpha = 16;
  std::vector<std::string> lora_targets = {"all-linear"};
  std::int64_t lora_layers = 0;
  bool merge_lora = false;
  std::int64_t eval_steps = 0;
  std::int64_t early_stopping_patience = 0;
  std::int64_t save_steps = 500;
  std::int64_t save_total_limit = 1;
  SaveDType save_dtype = SaveDType::float32;
  bool resume = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.lr, {.name = "lr", .help = "Learning rate at its highest. [paper alpha, TRL learning_rate]", .min = 0});
    visit(self.lr_schedule, {.name = "lr-schedule",
                             .help = "How the learning rate goes on after warm-up; linear and cosine end at 0. [TRL lr_scheduler_type]"});
    visit(self.warmup_ratio,
          {.name = "warmup-ratio",
           .help =
               "Share of the steps over which the learning rate rises to its highest; the first step has a part of it, not 0 as with TRL.",
           .min = 0,
           .max = 1});
    visit(self.batch_size,
          {.name = "batch-size",
           .help = "Rows a step: pairs, or responses, or prompts. [paper n, TRL per_device_train_batch_size times accumulation]",
           .min = 1});
    visit(self.epochs, {.name = "epochs", .help = "Passes over the rows.", .min = 0});
    visit(self.max_steps, {.name = "max-steps", .help = "Steps, instead of --epochs; 0: by epochs.", .min = 0});
    visit(self.optimizer, {.name = "optimizer", .help = "AdamW with betas 0.9 and 0.999, or plain SGD."});
    visit(self.optimizer_dtype,
          {.name = "optimizer-dtype",
           .help = "Type of AdamW's two moments; bfloat16 halves their memory, 8 bytes a weight, and rounds them stochastically."});
    visit(self.weight_decay, {.name = "weight-decay", .help = "Weight decay of matrices; norms and biases have none.", .min = 0});
    visit(
        self.l2_sp,
        {.name = "l2-sp", .help = "Pull of all weights toward those that the training starts from, as --weight-decay toward 0.", .min = 0});
    visit(self.freeze_layers,
          {.name = "freeze-layers", .help = "Leave the embeddings and the first so many layers as they are; 0: train all.", .min = 0});
    visit(self.layer_lr_decay,
          {.name = "layer-lr-decay",
           .help =
               "Learning rate of a layer over that of the next one, from the head down to the embeddings; 1: the same. [BEiT layer_decay]",
           .min = 0.01,
           .max = 1});
    visit(self.unfreeze_every,
          {.name = "unfreeze-every",
           .help = "Begin with the head alone, and every so many steps train a layer more, from the last down to the first, then the "
                   "embeddings; 0: all from the start. [ULMFiT gradual unfreezing]",
           .min = 0});
    visit(self.max_grad_norm, {.name = "max-grad-norm", .help = "Longer gradients are cut to this length; 0: never.", .min = 0});
    visit(self.dropout, {.name = "dropout", .help = "Share of attention and MLP outputs dropped in training.", .min = 0, .max = 0.9});
    visit(self.shuffle, {.name = "shuffle", .help = "A new order each epoch; false: as in the files."});
    visit(self.gradient_checkpointing,
          {.name = "gradient-checkpointing",
           .help = "Keep only the layers' inputs and compute the rest again in the backward pass: less memory, a third more time."});
    visit(self.lora_rank,
          {.name = "lora-rank", .help = "Train low-rank adapters of this rank instead of all weights; 0: all weights. [PEFT r]", .min = 0});
    visit(self.lora_alpha, {.name = "lora-alpha", .help = "Adapters count alpha / rank times.", .min = 0, .needs = "lora-rank"});
    visit(self.lora_targets, {.name = "lora-targets",
                              .help = "Linear layers that get adapters, by name (q_proj v_proj ...), or all-linear. [PEFT target_modules]",
                              .needs = "lora-rank"});
    visit(self.lora_layers,
          {.name = "lora-layers",
           .help = "Only the last so many layers get adapters, so that an ensemble of such adapters shares the others' pass; 0: all. [PEFT "
                   "layers_to_transform]",
           .min = 0,
           .needs = "lora-rank"});
    visit(self.merge_lora,
          {.name = "merge-lora", .help = "Write the whole model with the adapters merged, instead of the adapters.", .needs = "lora-rank"});
    visit(self.eval_steps,
          {.name = "eval-steps", .help = "Evaluate every so many steps; 0: only at the end.", .min = 0, .needs = Self::kEvalData});
    visit(self.save_steps,
          {.name = "save-steps", .help = "Write a checkpoint, from which --resume goes on, every so many steps; 0: none.", .min = 0});
    visit(self.save_total_limit,
          {.name = "save-total-limit", .help = "Keep the last so many checkpoints; 0: all. [TRL]", .min = 0, .needs = "save-steps"});
    visit(self.save_dtype, {.name = "save-dtype", .help = "Type of the weights in the finished model; adapters are float32."});
    visit(self.resume, {.name = "resume", .help = "Go on from the last checkpoint in --output, or begin where there is none."});
  }

  // Of a training whose evaluations have a loss.
  template <class Self, class Visitor>
  static void early_stopping_field(Self& self, Visitor&& visit) {
    visit(self.early_stopping_patience,
          {.name = "early-stopping-patience",
           .help =
               "End after so many evaluations in a row whose loss is not below the lowest before them, and finish with the weights of the "
               "lowest; 0: go to the end and finish with the last. [transformers]",
           .min = 0,
           .needs = "eval-steps"});
  }

  LayerRateOptions layer_rates() const { return {freeze_layers, layer_lr_decay}; }
  LoraOptions lora() const { return {lora_rank, lora_alpha, lora_targets, lora_layers}; }
};

// Of reward models, on pairs.
struct RewardTrainingOptions : TrainingOptions {
  static constexpr const char* kEvalData = "eval-pairs";

  std::vector<std::string> eval_pairs;
  double label_smoothing = 0;
  double center_rewards_coefficient = 0;
  double soft_labels = 0;
  double lm_loss_weight = 0;
  bool bootstrap = false;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    TrainingOptions::fields(self, visit);
    visit(self.eval_pairs, {.name = "eval-pairs", .help = "Held-out pairs to evaluate on at the end, and every --eval-steps."});
    early_stopping_field(self, visit);
    visit(self.label_smoothing,
          {.name = "label-smoothing", .help = "Probability that a label is taken to be wrong.", .min = 0, .max = 0.5});
    visit(self.center_rewards_coefficient,
          {.name = "center-rewards-coefficient", .help = "Weight of (chosen + rejected)^2, which keeps rewards around 0. [TRL]", .min = 0});
    visit(self.soft_labels,
          {.name = "soft-labels",
           .help = "Learn a teacher's probabilities instead of who won: sigmoid((chosen_reward - rejected_reward) / T) of rows that "
                   "`score` has scored, with this T; 0: who won.",
           .min = 0});
    visit(
        self.lm_loss_weight,
        {.name = "lm-loss-weight",
         .help = "Weight of the language-model loss on chosen responses, which keeps the hidden states those of a language model; 0: none. "
                 "[GRM]",
         .min = 0});
  }

  // Beside the option for the pairs.
  template <class Self, class Visitor>
  static void bootstrap_field(Self& self, Visitor&& visit) {
    visit(self.bootstrap, {.name = "bootstrap",
                           .help = "Train on as many of the pairs, drawn with replacement by --seed: for the members of an ensemble."});
  }
};

// Input errors for options that have no effect beside others, and for a training of no steps.
void check_training_options(const char* command, const TrainingOptions& options, const Parsed& parsed);

// Input error where one of `names` was given, which have an effect beside --`option` `owner` alone, and that has another value.
template <class Choice>
void expect_choice(const char* command, const Parsed& parsed, const char* option, Choice value, Choice owner,
                   std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (value != owner && parsed.given.contains(name))
      fail_input("{}: --{}: expected --{} {} with it, got {}", command, name, option, enum_name(owner), enum_name(value));
}

// `auto` as what it means on this machine, so that the run's config.toml repeats the run elsewhere. Sets the number of threads.
CommonOptions resolve_for_training(const CommonOptions& options);

}  // namespace metarm
