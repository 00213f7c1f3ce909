// A reward model, or an ensemble of several, with all that commands need of it: weights, tokenizer, chat template, encoder.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "metarm/base/log.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/common_options.h"
#include "metarm/model/scorer.h"

namespace metarm {

struct OpenRewardModel {
  Scorer scorer;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;
  std::int64_t max_length;  // of a sequence: the one asked for, or what the model has positions for; 0: no limit
  std::string label;        // of the reward; of an ensemble its first member's

  Encoder encoder() const { return Encoder(*tokenizer, chat ? &*chat : nullptr, max_length); }
};
// The folder whose tokenizer a checkpoint has: its own, or that of its base for an adapter without one. Input error for an ensemble, which
// has none.
std::string tokenizer_directory(const std::string& directory);
std::optional<ChatTemplate> load_chat_template(const std::string& directory, const Tokenizer& tokenizer, ChatFormat wanted);

// For scoring: a checkpoint, an adapter or an ensemble's folder (model/ensemble_config.h), whose members must read texts alike. A
// checkpoint without a reward head is an error.
OpenRewardModel open_reward_model(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log);

}  // namespace metarm
