// The reward server behind its protocols: reward models by name, each with its present version, and the queue that they share.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
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
// `NAME=DIRECTORY`, or a directory whose last part is the name. Input error for a name that is empty or comes twice.
std::vector<NamedCheckpoint> parse_models(const std::vector<std::string>& models);

class RewardServer : public RewardService {
 public:
  using OpenVersion = std::function<std::shared_ptr<const ModelVersion>(const std::string& directory)>;

  // Opens all checkpoints.
  RewardServer(const std::vector<NamedCheckpoint>& checkpoints, OpenVersion open, const QueueLimits& limits);

  ScoreReply score(const ScoreQuery& query) override;
  std::vector<ServedModel> models() const override;
  QueueState queue() const override { return queue_.state(); }
  std::string load_version(const std::string& model, const std::string& directory) override;
  // Makes `version` the present one, from the next query on. Input error for an unknown model.
  void swap_version(const std::string& model, std::shared_ptr<const ModelVersion> version);

 private:
  struct Served {
    std::string name, directory;  // a client may name it by either
    std::shared_ptr<const ModelVersion> version;
    std::int64_t rows = 0, tokens = 0;
  };
  Served* find(const std::string& model);     // null: none of this name
  Served& require(const std::string& model);  // input error

  const OpenVersion open_;
  mutable std::mutex mutex_;  // over served_
  std::vector<Served> served_;
  std::mutex loading_;  // one checkpoint at a time
  ScoreQueue queue_;
};

}  // namespace metarm
