// One version of a served reward model: an open checkpoint that makes tokens of texts and scores batches of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "metarm/http/reward_service.h"
#include "metarm/model/open.h"
#include "metarm/serve/score_queue.h"
#include "metarm/shift/guard.h"

namespace metarm {

class ModelVersion : public BatchScorer {
 public:
  // Errors as open_reward_model. `map`: from the checkpoint's rewards to those served.
  ModelVersion(const std::string& directory, const ScoringOptions& scoring, const CommonOptions& common, Log& log,
               const AffineMap& map = {});

  const std::string& id() const { return id_; }
  const std::string& label() const { return opened_.label; }
  std::int64_t max_length() const { return opened_.max_length; }
  std::int64_t loaded_at_s() const { return loaded_at_s_; }
  const ChatTemplate* chat() const { return opened_.chat ? &*opened_.chat : nullptr; }
  std::string start_token() const;                     // its text; empty: there is none
  void serve_by(const AffineMap& map) { map_ = map; }  // before any other thread knows of it

  // The tokens of an item; nullopt where it is too long. `shortened`: whether its prompt lost its oldest. Input errors name the item.
  // Thread-safe.
  std::optional<TokenIds> tokens(const ScoreItem& item, bool* shortened = nullptr) const;
  // torch's own errors are io (out of memory) or internal ones.
  GroupRewards score(std::span<const std::vector<TokenIds>> groups) const override;
  // Of the served reward. For one thread at a time.
  ItemAttribution attribute(const TokenIds& tokens) const;

 private:
  OpenRewardModel opened_;
  std::int64_t tokens_per_batch_;
  std::string id_;
  AffineMap map_;
  std::int64_t loaded_at_s_;
};

}  // namespace metarm
