// A reward service without a model: a text's reward is its length, less that of its prompt.
#pragma once

#include <mutex>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/http/reward_service.h"

namespace metarm {

class FakeService : public RewardService {
 public:
  ScoreOutcome outcome = ScoreOutcome::scored;
  bool broken = false;
  std::vector<ScoreItem> asked;
  std::string loaded;

  ScoreReply score(const ScoreQuery& query) override {
    const std::lock_guard lock(mutex_);
    if (broken) fail_internal("the model at /secret/path is broken");
    ScoreReply reply{outcome, "rm", "v1", {}, {}, 100, 2.5};
    if (!query.model.empty() && query.model != "rm") reply.outcome = ScoreOutcome::unknown_model;
    for (const ScoreItem& item : query.items) {
      asked.push_back(item);
      const std::int64_t length = length_of(item);
      const bool fits = length <= reply.max_length;
      reply.tokens.push_back(fits ? length : 0);
      reply.rewards.push_back(fits ? std::optional(static_cast<float>(length)) : std::nullopt);
    }
    return reply;
  }
  std::vector<ServedModel> models() const override { return {{"rm", "v1", 100, 1700000000, 3, 30}}; }
  QueueState queue() const override { return {.rows = 5, .tokens = 50}; }
  std::string load_version(const std::string& model, const std::string& directory) override {
    loaded = model + ":" + directory;
    return "v2";
  }

 private:
  static std::int64_t length_of(const ScoreItem& item) {
    if (const auto* ids = std::get_if<TokenIds>(&item.text)) return static_cast<std::int64_t>(ids->size());
    const Content& content = std::get<Content>(item.text);
    const auto* text = std::get_if<std::string>(&content);
    return static_cast<std::int64_t>(text != nullptr ? text->size() : std::get<Conversation>(content).size());
  }

  std::mutex mutex_;
};

}  // namespace metarm
