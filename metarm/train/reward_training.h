// `metarm train`: a reward model by the pairwise loss.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/train/consistency_step.h"
#include "metarm/train/loop.h"

namespace metarm {

struct TrainOptions {
  std::string model;
  std::vector<std::string> pairs, responses;
  std::string output;
  std::string init_head = "auto";
  HeadTrainingOptions head;
  ConsistencyOptions consistency;
  RewardTrainingOptions training;
  ScoringOptions scoring{{.tokens_per_batch = 2048}};
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model",
                       .help = "A Hugging Face directory: a causal language model, which gets a new reward head, or a reward model, or a "
                               "reward model's PEFT adapter, which goes on as one unless --lora-rank 0 or --merge-lora is given.",
                       .required = true});
    visit(self.pairs, {.name = "pairs", .help = "Preference pairs, JSON lines, .gz accepted.", .required = true});
    RewardTrainingOptions::bootstrap_field(self.training, visit);
    visit(self.output, {.name = "output",
                        .help = "The run's folder: the finished model, metrics, checkpoints. It must not exist, but for --resume.",
                        .required = true});
    visit(
        self.init_head,
        {.name = "init-head",
         .help = "How the reward head begins: auto: as --model has it, else normal; normal: drawn anew by --seed; zeros: all rewards 0; or "
                 "a reward model's directory, whose head is taken."});
    HeadTrainingOptions::fields(self.head, visit);
    ConsistencyOptions::fields(self.consistency, visit);
    visit(self.responses, {.name = "responses",
                           .help = "Unlabelled response groups for the consistency loss, two or more responses each.",
                           .needs = "consistency-coef"});
    RewardTrainingOptions::fields(self.training, visit);
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

// All ranks call it; the folder is written by the first. nullopt: the run was finished already (--resume), nothing was done.
std::optional<TrainingSummary> train_reward_model(const TrainOptions& options, const Parsed& parsed, Ranks& ranks, Log& log);

}  // namespace metarm
