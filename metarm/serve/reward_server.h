// Reward models by name, each with its present version, and the queue that they share.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "metarm/http/reward_service.h"
#include "metarm/serve/model_version.h"
#include "metarm/serve/score_queue.h"

namespace metarm {

// A model to serve: its name, and the directory of its first version.
struct NamedCheckpoint {
  std::string name, directory;
};
// A directory whose last part is the name, or `NAME=DIRECTORY` where there is none of the whole word. Input error for a name that is empty
// or comes twice.
std::vector<NamedCheckpoint> parse_models(const std::vector<std::string>& models);

class RewardServer {
 public:
  using OpenVersion = std::function<std::shared_ptr<ModelVersion>(const std::string& directory)>;

  RewardServer(OpenVersion open, const QueueLimits& limits) : open_(std::move(open)), limits_(limits), queue_(limits) {}

  // Before anything is asked.
  void add(const NamedCheckpoint& checkpoint, std::shared_ptr<const ModelVersion> version);

  ScoreReply score(const ScoreQuery& query);
  std::vector<ServedModel> models() const;
  bool is_named(const std::string& model, const std::string& name) const;  // whether a client who says `model` means the model `name`
  QueueState queue() const { return queue_.state(); }
  void close() { closing_ = true; }  // no further attribution begins

  // The checkpoint in `directory`, served by nobody yet. One at a time.
  std::shared_ptr<ModelVersion> open(const std::string& directory);
  std::shared_ptr<const ModelVersion> version(const std::string& model) const;  // the present one; input error for an unknown model
  // Rewards by any version, between those that are asked for; none for a text that is too long. Waits where the queue is full; io error
  // where `stop`, asked now and then, says so.
  std::vector<std::optional<float>> score_by(const std::shared_ptr<const ModelVersion>& version, const std::vector<ScoreItem>& items,
                                             const std::function<bool()>& stop);
  // Makes `version` the present one, from the next query on. Input error for an unknown model.
  void swap_version(const std::string& model, std::shared_ptr<const ModelVersion> version);

 private:
  struct Served {
    std::string name, directory;  // a client may name it by either
    std::shared_ptr<const ModelVersion> version;
    std::int64_t rows = 0, tokens = 0, truncated = 0, too_long = 0;
  };
  const Served* find(const std::string& model) const;  // null: none of this name
  Served& require(const std::string& model);           // input error
  ScoreOutcome outcome_so_far(const ScoreQuery& query) const;
  std::vector<float> score_own(const std::shared_ptr<const ModelVersion>& version, const std::vector<TokenIds>& sequences,
                               const std::function<bool()>& stop);
  void attribute(const ScoreQuery& query, const ModelVersion& version, ScoreReply& reply);

  const OpenVersion open_;
  const QueueLimits limits_;
  mutable std::mutex mutex_;  // over served_
  std::vector<Served> served_;
  std::atomic<bool> closing_ = false;
  std::mutex opening_;
  std::timed_mutex attributing_;
  ScoreQueue queue_;
};

}  // namespace metarm
