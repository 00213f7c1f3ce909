// A checkpoint with all that commands need of it: weights, tokenizer, chat template, encoder.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "metarm/base/log.h"
#include "metarm/model/checkpoint.h"
#include "metarm/model/common_options.h"

namespace metarm {

struct OpenRewardModel {
  LoadedRewardModel loaded;
  std::unique_ptr<Tokenizer> tokenizer;
  std::optional<ChatTemplate> chat;
  std::int64_t max_length;

  Encoder encoder() const { return Encoder(*tokenizer, chat ? &*chat : nullptr, max_length); }
};
// For scoring: a checkpoint without a reward head is an error.
OpenRewardModel open_reward_model(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log);

}  // namespace metarm
