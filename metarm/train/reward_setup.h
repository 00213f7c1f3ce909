// What training a reward model starts from: the model, its trainable weights, its tokenizer, the pairs. Shared by training and alignment.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/common_options.h"
#include "metarm/model/lora.h"
#include "metarm/model/trainable.h"
#include "metarm/train/share.h"
#include "metarm/train/training_options.h"

namespace metarm {

struct RewardSetup {
  explicit RewardSetup(Ranks& of_run) : ranks(of_run) {}

  Ranks& ranks;
  std::string source;        // the checkpoint that training starts from
  LoadedRewardModel loaded;  // its forward pass reads the trainable's compute copy
  std::optional<Lora> lora;
  std::unique_ptr<Trainable> trainable;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;
  std::vector<EncodedPair> pairs;
  std::vector<EncodedPair> eval_pairs;

  const RewardModel& reward_model() const { return loaded.reward_model; }
  Share share() const { return Share(ranks, trainable->master().flat().numel()); }
};

struct SetupOptions {
  std::string model;
  std::vector<std::string> pairs;
  MissingHead missing_head = MissingHead::fail;
  bool separate_copy = false;  // see Trainable
};

// Reads all; input errors for a model that cannot be trained, for bad rows, and where no pair is left.
RewardSetup make_reward_setup(const SetupOptions& setup, const TrainingOptions& training, const ScoringOptions& scoring,
                              const CommonOptions& common, Ranks& ranks, Log& log);

// Pairs of the files as token sequences; notes on what was left out go to the log. Input error, naming `option`, when none is left.
std::vector<EncodedPair> load_pairs(const std::vector<std::string>& files, const char* option, Encoder& encoder,
                                    const ScoringOptions& scoring, Log& log);

// Writes the model, from the master weights, into an existing folder: whole, or with LoRA the adapters, or with `merge` the whole with the
// adapters merged.
void save_trained(const RewardSetup& setup, const std::string& folder, bool merge, SaveDType dtype);

// A checkpoint to resume from: the model in float32 as save_trained writes it, and training_state.safetensors with the optimizer's and
// other `state`, float32 [total]: by one rank, whatever their number. load_checkpoint restores all in place, bit for bit, of `state` each
// rank its part; a file of another run is an input error.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
void save_checkpoint(const RewardSetup& setup, const std::string& folder, bool merge, const NamedTensors& state);
void load_checkpoint(RewardSetup& setup, const std::string& folder, const NamedTensors& state, Log& log);

}  // namespace metarm
