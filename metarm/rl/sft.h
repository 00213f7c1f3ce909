// `metarm sft`: a policy by the language-model loss on responses alone.
//
//   L = -1/T sum over the T response tokens of a step of log pi(token | what is before it)
//
// Every response token of a step counts the same, so that long responses weigh more, as in TRL's and transformers' trainers.
//
// Figures of each step: loss, entropy (mean over the response tokens, in nats), responses, response_tokens, tokens.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/model/common_options.h"
#include "metarm/train/loop.h"

namespace metarm {

struct SftTrainingOptions : TrainingOptions {
  static constexpr const char* kEvalData = "eval-data";

  std::vector<std::string> eval_data;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    TrainingOptions::fields(self, visit);
    visit(self.eval_data,
          {.name = "eval-data", .help = "Held-out rows, of which loss and perplexity are taken at the end, and every --eval-steps."});
    early_stopping_field(self, visit);
  }
};

struct SftOptions {
  std::string model;
  std::vector<std::string> data;
  std::string output;
  SftTrainingOptions training{{.lr = 2e-5}, {}};
  SequenceOptions sequences{.tokens_per_batch = 2048};
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model,
          {.name = "model", .help = "Policy to start from: a causal language model's Hugging Face directory.", .required = true});
    visit(self.data, {.name = "data",
                      .help = "What to learn, JSON lines, .gz accepted: pairs (their chosen responses), response groups (each response), "
                              "conversations in `messages` (the last message), rows with `prompt` and `response`.",
                      .required = true});
    visit(self.output, {.name = "output",
                        .help = "The run's folder: the finished model, metrics, checkpoints. It must not exist, but for --resume.",
                        .required = true});
    SftTrainingOptions::fields(self.training, visit);
    SequenceOptions::fields(self.sequences, visit);
    CommonOptions::fields(self.common, visit);
  }
};

// All ranks call it; the folder is written by the first. nullopt: the run was finished already (--resume), nothing was done.
std::optional<TrainingSummary> train_sft(const SftOptions& options, const Parsed& parsed, Ranks& ranks, Log& log);

}  // namespace metarm
