// `metarm dpo`: a policy by direct preference optimisation (arXiv 2305.18290) on pairs, without a reward model.
//
//   L = mean over pairs of  w · [ (1 − ε) · −log σ(d) + ε · −log σ(−d) ],   d = r_chosen − r_rejected − margin
//
// with the implicit rewards r = beta (log pi − log pi_ref) of objectives/implicit_reward.h, of response tokens alone. log pi_ref is
// computed once, before the first step, and kept; the reference is a checkpoint of its own or the policy as it starts.
//
// Figures of each step: loss, accuracy (share of pairs with the chosen response's implicit reward ahead), margin (mean difference of the
// two), chosen_reward and rejected_reward (their means), log_ratio (mean of log pi − log pi_ref over all responses: below 0, the policy has
// moved away from the data), pairs, tokens.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/model/common_options.h"
#include "metarm/train/loop.h"

namespace metarm {

struct DpoTrainingOptions : TrainingOptions {
  static constexpr const char* kEvalData = "eval-pairs";

  std::vector<std::string> eval_pairs;
  double beta = 0.1;
  double label_smoothing = 0;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.beta, {.name = "beta", .help = "How strongly the policy is held to the reference. [TRL beta]", .min = 1e-6});
    visit(
        self.label_smoothing,
        {.name = "label-smoothing", .help = "Probability that a label is taken to be wrong. [TRL label_smoothing]", .min = 0, .max = 0.5});
    TrainingOptions::fields(self, visit);
    visit(self.eval_pairs, {.name = "eval-pairs", .help = "Held-out pairs to evaluate on at the end, and every --eval-steps."});
    early_stopping_field(self, visit);
  }
};

struct DpoOptions {
  std::string model;
  std::string reference;
  std::vector<std::string> pairs;
  std::string output;
  DpoTrainingOptions training{{.lr = 1e-6}, {}};
  SequenceOptions sequences{.tokens_per_batch = 2048};
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model,
          {.name = "model", .help = "Policy to start from: a causal language model's Hugging Face directory.", .required = true});
    visit(self.reference, {.name = "reference", .help = "Reference policy, of the same tokens; empty: the policy as it starts."});
    visit(self.pairs, {.name = "pairs", .help = "Preference pairs, JSON lines, .gz accepted.", .required = true});
    visit(self.output, {.name = "output",
                        .help = "The run's folder: the finished model, metrics, checkpoints. It must not exist, but for --resume.",
                        .required = true});
    DpoTrainingOptions::fields(self.training, visit);
    SequenceOptions::fields(self.sequences, visit);
    CommonOptions::fields(self.common, visit);
  }
};

// All ranks call it; the folder is written by the first. nullopt: the run was finished already (--resume), nothing was done.
std::optional<TrainingSummary> train_dpo(const DpoOptions& options, const Parsed& parsed, Ranks& ranks, Log& log);

}  // namespace metarm
