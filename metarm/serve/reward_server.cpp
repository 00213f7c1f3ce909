#include "metarm/serve/reward_server.h"

#include <filesystem>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

std::vector<NamedCheckpoint> parse_models(const std::vector<std::string>& models) {
  std::vector<NamedCheckpoint> checkpoints;
  for (const std::string& model : models) {
    const std::size_t equals = model.find('=');
    NamedCheckpoint checkpoint;
    checkpoint.directory = equals == std::string::npos ? model : model.substr(equals + 1);
    checkpoint.name = equals == std::string::npos ? std::filesystem::weakly_canonical(model).filename().string() : model.substr(0, equals);
    if (checkpoint.name.empty() || checkpoint.directory.empty())
      fail_input("--model: expected NAME=DIRECTORY or a directory, got '{}'", model);
    for (const NamedCheckpoint& other : checkpoints)
      if (other.name == checkpoint.name)
        fail_input("--model: expected different names, got {} twice; NAME=DIRECTORY gives one", checkpoint.name);
    checkpoints.push_back(std::move(checkpoint));
  }
  return checkpoints;
}

RewardServer::RewardServer(const std::vector<NamedCheckpoint>& checkpoints, OpenVersion open, const QueueLimits& limits)
    : open_(std::move(open)), queue_(limits) {
  for (const NamedCheckpoint& checkpoint : checkpoints)
    served_.push_back({checkpoint.name, checkpoint.directory, open_(checkpoint.directory)});
}

RewardServer::Served* RewardServer::find(const std::string& model) {
  if (model.empty()) return &served_.front();
  for (Served& served : served_)
    if (served.name == model || served.directory == model) return &served;
  return nullptr;
}

RewardServer::Served& RewardServer::require(const std::string& model) {
  Served* served = find(model);
  if (served == nullptr) fail_input("model: expected a served one, got {}", model);
  return *served;
}

ScoreReply RewardServer::score(const ScoreQuery& query) {
  ScoreReply reply;
  std::shared_ptr<const ModelVersion> version;
  Served* served = nullptr;  // stays where it is: no model is added or removed
  {
    const std::lock_guard lock(mutex_);
    served = find(query.model);
    if (served == nullptr) {
      reply.outcome = ScoreOutcome::unknown_model;
      return reply;
    }
    version = served->version;
  }
  reply.model = served->name;
  reply.version = version->id();
  reply.max_length = version->max_length();

  std::vector<TokenIds> sequences;
  for (const ScoreItem& item : query.items) {
    std::optional<TokenIds> tokens = version->tokens(item);
    reply.tokens.push_back(tokens ? static_cast<std::int64_t>(tokens->size()) : 0);
    if (tokens) sequences.push_back(std::move(*tokens));
  }
  ScoreResult result = queue_.score(version, std::move(sequences), query.deadline, query.abandoned);
  reply.outcome = result.outcome;
  reply.retry_after_s = result.retry_after_s;
  if (result.outcome != ScoreOutcome::scored) return reply;

  auto next = result.rewards.begin();
  const std::lock_guard lock(mutex_);
  for (const std::int64_t tokens : reply.tokens) {
    reply.rewards.push_back(tokens > 0 ? std::optional(*next++) : std::nullopt);
    served->tokens += tokens;
    served->rows += tokens > 0;
  }
  return reply;
}

std::vector<ServedModel> RewardServer::models() const {
  const std::lock_guard lock(mutex_);
  std::vector<ServedModel> models;
  for (const Served& served : served_)
    models.push_back(
        {served.name, served.version->id(), served.version->max_length(), served.version->loaded_at_s(), served.rows, served.tokens});
  return models;
}

std::string RewardServer::load_version(const std::string& model, const std::string& directory) {
  const std::lock_guard one_at_a_time(loading_);
  {
    const std::lock_guard lock(mutex_);
    require(model);
  }
  std::shared_ptr<const ModelVersion> version = open_(directory);
  std::string id = version->id();
  swap_version(model, std::move(version));
  return id;
}

void RewardServer::swap_version(const std::string& model, std::shared_ptr<const ModelVersion> version) {
  std::shared_ptr<const ModelVersion> old;  // is freed outside the lock, once its last query has ended
  const std::lock_guard lock(mutex_);
  old = std::exchange(require(model).version, std::move(version));
}

}  // namespace metarm
