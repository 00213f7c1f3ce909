// What is trained, a reward model or a policy: the model, its trainable weights, its tokenizer; saving it, and resuming. What it is trained
// on is the caller's.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/ranks.h"
#include "metarm/data/encode.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/common_options.h"
#include "metarm/model/lora.h"
#include "metarm/model/trainable.h"
#include "metarm/train/head_training.h"
#include "metarm/train/share.h"
#include "metarm/train/training_options.h"

namespace metarm {

class TrainingSetup {
 public:
  // Reads the tokenizer and the chat template of the checkpoint `of_model`, which is all that rows need. Input error where its device
  // cannot serve the ranks.
  TrainingSetup(std::string of_model, const SequenceOptions& sequences, const CommonOptions& common, Ranks& of_run);

  // Loads the weights and makes them, or with LoRA adapters over them, trainable: an adapter's own, where the checkpoint is one and is not
  // to be merged. `separate_copy`: see Trainable. Input errors for a model that cannot be trained or saved as asked.
  void load_as_reward_model(MissingHead missing_head, bool separate_copy, const TrainingOptions& training, const ScoringOptions& scoring,
                            Log& log);
  // Gives the loaded reward model the head of a language model, which stays as --model has it, or is the token embedding that is trained.
  void load_language_head();
  void load_as_policy(const TrainingOptions& training, Log& log);
  // Before load_as_reward_model: what is trained in the place of the reward head. Input error for several ranks.
  void train_head(const HeadTrainingOptions& options);
  // Before it, too: how the head begins, as --init-head says: auto (as --model has it, else normal), normal, zeros, or the head of a reward
  // model's folder.
  void init_head(std::string how) { init_head_ = std::move(how); }
  // With a head training, the reward model reads the head that it makes now.
  void read_trained_head();

  Ranks& ranks;
  std::string source;  // the checkpoint that training starts from
  std::optional<Lora> lora;
  std::unique_ptr<Trainable> trainable;
  std::unique_ptr<HeadTraining> head_training;  // null: the head is trained as it is
  std::vector<double> rates;                    // of each trainable tensor, its part of the learning rate; 0: frozen
  std::vector<std::int64_t> first_steps;        // of each, the step (from 0) before which it is frozen
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;

  // Their forward pass reads the trainable's compute copy. One of the two exists.
  const RewardModel& reward_model() const { return std::get<LoadedRewardModel>(loaded_).reward_model; }
  const Model& policy() const { return std::get<LoadedLanguageModel>(loaded_).model; }
  const CheckpointConfig& config() const;
  // Those under adapters, which nothing moves.
  Weights& frozen_weights();

  at::Device device() const { return device_; }
  at::ScalarType compute_dtype() const { return compute_; }
  // The head training's tensors, behind the model's own: as a step reads them, and the master weights.
  std::span<const at::Tensor> head_leaves() const { return std::span(trainable->leaves()).subspan(model_tensors_); }
  std::vector<at::Tensor> head_masters() const;
  Share share() const { return Share(ranks, trainable->master().flat().numel()); }
  Encoder encoder(std::int64_t max_length) const {
    return Encoder(*tokenizer, chat ? &*chat : nullptr, config().spec.length_limit(max_length));
  }

  // Whether a saved model is less than what is trained, so that a checkpoint keeps that beside it.
  bool keeps_trainable() const { return lora || head_training; }
  // Writes the model, from the master weights, into an existing folder: whole, or with LoRA the adapters, or with `merge` the whole with
  // the adapters merged.
  void save(const std::string& folder, bool merge, SaveDType dtype) const;
  // Takes the master weights from a whole model that save() wrote.
  void load_weights(const std::string& folder, Log& log);

 private:
  bool is_policy() const { return std::holds_alternative<LoadedLanguageModel>(loaded_); }
  void begin_head(LoadedRewardModel& loaded, Log& log) const;
  void make_trainable(const TrainingOptions& training, const at::Tensor& head, bool separate_copy,
                      const std::vector<at::Tensor>& adapter = {});
  FlatTensors with_head_tensors(const FlatTensors& of_model, const at::Tensor& head) const;
  std::vector<at::Tensor> master_tensors() const;  // of the model
  Model over_master() const;
  void save_merged(const std::string& folder, SaveDType dtype) const;

  at::Device device_;
  at::ScalarType compute_;
  std::uint64_t seed_;
  HeadTrainingOptions head_options_;
  std::string init_head_ = "auto";
  std::size_t model_tensors_ = 0;  // of the trainable ones
  ChatFormat chat_format_;
  std::variant<LoadedRewardModel, LoadedLanguageModel> loaded_;
};

// What a resumed run needs besides the model.
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;
struct RunState {
  NamedTensors tensors;                                  // float32, each rank its part of [total]
  std::vector<std::pair<std::string, double*>> numbers;  // the same on all ranks
};

// A checkpoint to resume from: the model in float32 as save() writes it, training_state.safetensors with the state's tensors, whole
// ([total]), and training_state.json with its numbers; written by one rank, whatever their number. load_checkpoint restores all in place,
// bit for bit, of tensors each rank its part; a file of another run is an input error.
void save_checkpoint(const TrainingSetup& setup, const std::string& folder, bool merge, const RunState& state);
void load_checkpoint(TrainingSetup& setup, const std::string& folder, const RunState& state, Log& log);

}  // namespace metarm
