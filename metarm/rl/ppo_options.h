// What optimising a policy by a reward model is told beyond training.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "metarm/model/common_options.h"
#include "metarm/objectives/kl.h"
#include "metarm/train/training_options.h"

namespace metarm {

enum class Algorithm {
  rloo,       // a response's baseline: the mean reward of the prompt's other responses
  grpo,       // rewards less the prompt's mean, over its deviation; the KL is in the loss
  reinforce,  // sums of a token's and later rewards, without a baseline
  ppo,        // a token's and later rewards against what a critic expected of them
};
template <>
struct EnumNames<Algorithm> {
  static constexpr std::pair<Algorithm, const char*> values[] = {
      {Algorithm::rloo, "rloo"}, {Algorithm::grpo, "grpo"}, {Algorithm::reinforce, "reinforce"}, {Algorithm::ppo, "ppo"}};
};
enum class Whitening { automatic, on, off };
template <>
struct EnumNames<Whitening> {
  static constexpr std::pair<Whitening, const char*> values[] = {
      {Whitening::automatic, "auto"}, {Whitening::on, "true"}, {Whitening::off, "false"}};
};
template <>
struct EnumNames<KlEstimator> {
  static constexpr std::pair<KlEstimator, const char*> values[] = {
      {KlEstimator::k1, "k1"}, {KlEstimator::k2, "k2"}, {KlEstimator::k3, "k3"}};
};

// How rewards and log-probabilities become a gradient.
struct PolicyObjectiveOptions {
  Algorithm algorithm = Algorithm::rloo;
  double kl_coef = 0.05;
  KlEstimator kl_estimator = KlEstimator::k1;
  double kl_target = 0;
  double kl_horizon = 10000;
  double max_kl = 500;
  std::int64_t num_ppo_epochs = 1;
  std::int64_t num_mini_batches = 1;
  double cliprange = 0.2;
  double entropy_coef = 0;
  double gamma = 1;
  Whitening whiten_advantages = Whitening::automatic;
  double missing_eos_penalty = 0;
  bool normalize_rewards = false;
  double reward_clip_range = 0;

  std::int64_t updates() const { return num_ppo_epochs * num_mini_batches; }  // a step

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.algorithm,
          {.name = "algorithm",
           .help = "rloo: baseline from a prompt's other responses; grpo: rewards normalized by prompt, KL in the loss; reinforce: rewards "
                   "to go, without a baseline; ppo: a critic, trained beside the policy, as baseline of each token."});
    visit(self.kl_coef,
          {.name = "kl-coef", .help = "Weight of the KL penalty; at the start where it adapts. [TRL kl_coef, GRPO's beta]", .min = 0});
    visit(self.kl_estimator,
          {.name = "kl-estimator", .help = "Estimate of a token's KL that is taken from its reward; k1 is unbiased. [TRL kl_estimator]"});
    visit(self.kl_target,
          {.name = "kl-target",
           .help = "KL of a response, in nats, to which the coefficient adapts; 0: the coefficient is fixed. [OpenRLHF kl_target]",
           .min = 0});
    visit(self.kl_horizon, {.name = "kl-horizon",
                            .help = "Responses over which the coefficient adapts. [OpenRLHF kl_horizon]",
                            .min = 1,
                            .needs = "kl-target"});
    visit(self.max_kl,
          {.name = "max-kl", .help = "End with an error when the KL of a response exceeds this on average; 0: never.", .min = 0});
    visit(self.num_ppo_epochs, {.name = "num-ppo-epochs", .help = "Passes over a step's responses. [TRL]", .min = 1});
    visit(self.num_mini_batches, {.name = "num-mini-batches", .help = "Updates a pass, each on its part of the prompts. [TRL]", .min = 1});
    visit(self.cliprange, {.name = "cliprange", .help = "Probability ratios are clipped to within this of 1. [TRL]", .min = 0, .max = 1});
    visit(self.entropy_coef, {.name = "entropy-coef", .help = "Weight of the mean entropy of tokens, which is raised.", .min = 0});
    visit(self.gamma,
          {.name = "gamma", .help = "Discount of later tokens' rewards, with ppo and reinforce. [TRL gamma]", .min = 0, .max = 1});
    visit(self.whiten_advantages,
          {.name = "whiten-advantages",
           .help = "Shift and scale a step's advantages to mean 0 and deviation 1; auto: with ppo. With reinforce: REINFORCE++."});
    visit(self.missing_eos_penalty,
          {.name = "missing-eos-penalty", .help = "Taken from the reward of a response that does not end by itself. [TRL]", .min = 0});
    visit(self.normalize_rewards,
          {.name = "normalize-rewards", .help = "Divide rewards, less their mean, by their deviation; both over all steps so far."});
    visit(self.reward_clip_range,
          {.name = "reward-clip-range", .help = "Clip rewards, after normalizing, to within this of 0; 0: never. [OpenRLHF]", .min = 0});
  }
};

// Of the critic, with --algorithm ppo.
struct CriticOptions {
  std::string critic;
  double critic_lr = 1e-5;
  double lam = 0.95;
  double cliprange_value = 0.2;
  double vf_coef = 0.1;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.critic,
          {.name = "critic", .help = "Reward model, of the policy's tokens, that the critic of ppo starts from; empty: --rm. [OpenRLHF]"});
    visit(self.critic_lr, {.name = "critic-lr", .help = "Learning rate of ppo's critic at its highest. [OpenRLHF]", .min = 0});
    visit(
        self.lam,
        {.name = "lam", .help = "Lambda of ppo's advantages: 1 trusts the rewards that came, 0 the critic. [TRL lam]", .min = 0, .max = 1});
    visit(self.cliprange_value,
          {.name = "cliprange-value",
           .help = "Values of ppo's critic count as within this of those before a step's updates; 0: never clipped. [TRL]",
           .min = 0});
    visit(self.vf_coef,
          {.name = "vf-coef", .help = "Weight of the loss of ppo's critic, before --max-grad-norm cuts its gradient. [TRL]", .min = 0});
  }
};

// How responses are drawn.
struct RolloutOptions {
  std::int64_t responses = 4;
  std::int64_t max_new_tokens = 128;
  std::int64_t max_prompt_length = 512;
  double temperature = 1.0;
  double top_p = 1.0;
  std::int64_t top_k = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.responses, {.name = "responses", .help = "Responses a prompt, k. [TRL num_generations]", .min = 1, .max = 1024});
    visit(self.max_new_tokens, {.name = "max-new-tokens", .help = "Tokens of a response at most. [TRL response_length]", .min = 1});
    visit(self.max_prompt_length, {.name = "max-prompt-length", .help = "A longer prompt loses its oldest tokens; 0: no limit.", .min = 0});
    visit(self.temperature,
          {.name = "temperature", .help = "Sampling temperature, of which all log-probabilities are.", .min = 1e-3, .max = 100});
    visit(self.top_p,
          {.name = "top-p", .help = "Keep the most probable tokens that together reach this probability.", .min = 1e-6, .max = 1});
    visit(self.top_k, {.name = "top-k", .help = "Keep the k most probable tokens; 0: all.", .min = 0});
  }
};

struct PpoTrainingOptions : TrainingOptions {
  static constexpr const char* kEvalData = "probe-prompts";

  std::vector<std::string> probe_prompts;
  std::int64_t response_steps = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    TrainingOptions::fields(self, visit);
    visit(self.probe_prompts,
          {.name = "probe-prompts",
           .help = "Prompts whose responses are drawn and measured, not learned from, at the end, and every --eval-steps."});
    visit(self.response_steps,
          {.name = "response-steps",
           .help = "Write the responses of every so many steps, with their rewards, as response groups to responses/step-N.jsonl in the "
                   "run's folder; 0: never. [TRL log_completions]",
           .min = 0});
  }
};

struct PpoOptions {
  std::string policy, reference, rm, gold_rm;
  std::vector<std::string> prompts;
  std::string output;
  PolicyObjectiveOptions objective;
  CriticOptions critic;
  RolloutOptions rollouts;
  PpoTrainingOptions training{{.lr = 1e-6, .save_steps = 25}, {}, 0};  // few: a policy that diverges does so within some steps
  SequenceOptions sequences{.tokens_per_batch = 4096};
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.policy,
          {.name = "policy", .help = "Policy to start from: a causal language model's Hugging Face directory.", .required = true});
    visit(self.reference, {.name = "reference", .help = "Reference policy, of the same tokens; empty: the policy as it starts."});
    visit(self.rm, {.name = "rm",
                    .help = "Reward model: a Hugging Face directory, a PEFT adapter's or an ensemble's. [TRL reward_model_path]",
                    .required = true});
    visit(self.gold_rm, {.name = "gold-rm", .help = "Gold reward model: its rewards are recorded, never learned from."});
    visit(self.prompts,
          {.name = "prompts",
           .help = "JSON lines with `prompt`, a text or a list of messages; pairs' and groups' prompts are taken too. .gz accepted.",
           .required = true});
    visit(self.output, {.name = "output",
                        .help = "The run's folder: the finished policy, metrics, checkpoints. It must not exist, but for --resume.",
                        .required = true});
    PolicyObjectiveOptions::fields(self.objective, visit);
    CriticOptions::fields(self.critic, visit);
    RolloutOptions::fields(self.rollouts, visit);
    PpoTrainingOptions::fields(self.training, visit);
    SequenceOptions::fields(self.sequences, visit);
    CommonOptions::fields(self.common, visit);
  }
};

}  // namespace metarm
