// A reward service without a model: a text's reward is its length, less that of its prompt.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/error.h"
#include "metarm/http/reward_service.h"

namespace metarm {

class FakeService : public RewardService {
 public:
  ScoreOutcome outcome = ScoreOutcome::scored;
  bool broken = false, aligning = false, closed = false;
  std::function<void()> before_scoring = [] {};
  std::vector<ScoreItem> asked;
  std::int64_t rolled_back = 0;
  std::optional<std::int64_t> step;
  std::string label = "LABEL_0";

  ScoreReply score(const ScoreQuery& query) override {
    before_scoring();
    const std::lock_guard lock(mutex_);
    if (broken) fail_internal("the model at /secret/path is broken");
    ScoreReply reply{outcome, "rm", "v1", {}, {}, 100, 2.5, {}};
    reply.truncated = 1;
    reply.label = label;
    step = query.step;
    if (!query.model.empty() && query.model != "rm") reply.outcome = ScoreOutcome::unknown_model;
    for (const ScoreItem& item : query.items) {
      asked.push_back(item);
      const std::int64_t length = length_of(item);
      const bool fits = length <= reply.max_length;
      reply.tokens.push_back(fits ? length : 0);
      reply.rewards.push_back(fits ? std::optional(static_cast<float>(length)) : std::nullopt);
    }
    if (query.attributions) reply.attributions.assign(query.items.size(), {{{"to", 0.5}, {"ken", 0.25}}, 1.5});
    return reply;
  }
  void close() override { closed = true; }
  std::vector<ServedModel> models() const override { return {{"rm", "v1", 100, 1700000000, 3, 30, 2, 1}}; }
  QueueState queue() const override { return {.rows = 5, .tokens = 50}; }
  Json status(bool for_admin) const override { return {{"state", for_admin ? "all of it" : "well"}}; }
  Json versions() const override { return {{"current", 1}, {"versions", Json::array()}}; }
  Json samples() const override { return {{"samples", Json::array()}}; }
  std::optional<std::string> begin_alignment() override {
    return std::exchange(aligning, true) ? std::optional<std::string>("one is running") : std::nullopt;
  }
  Json roll_back(std::int64_t version) override {
    if (version != 1) fail_input("version: expected 1, got {}", version);
    rolled_back = version;
    return {{"version", version}, {"id", "v1"}};
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
