// One version of a served reward model: an open checkpoint that makes tokens of texts and scores batches of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "metarm/http/reward_service.h"
#include "metarm/model/open.h"
#include "metarm/serve/score_queue.h"

namespace metarm {

class ModelVersion : public BatchScorer {
 public:
  // Errors as open_reward_model.
  ModelVersion(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log);

  const std::string& id() const { return id_; }
  std::int64_t max_length() const { return opened_.max_length; }
  std::int64_t loaded_at_s() const { return loaded_at_s_; }

  // The tokens of an item; nullopt where it is too long. Input errors name the item. Thread-safe.
  std::optional<TokenIds> tokens(const ScoreItem& item) const;
  // Internal error for a reward that is no number; torch's own errors are io (out of memory) or internal ones.
  std::vector<std::vector<float>> score(std::span<const std::vector<TokenIds>> groups) const override;

 private:
  OpenRewardModel opened_;
  std::int64_t tokens_per_batch_;
  std::string id_;
  std::int64_t loaded_at_s_;
};

}  // namespace metarm
