#include "metarm/serve/reward_server.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

constexpr std::int64_t kParts = 8;      // of a batch: the share of one's own texts that a client may have to wait for
constexpr std::int64_t kPartRows = 64;  // of them, at most; half of what the queue takes, where that is less
constexpr auto kPause = std::chrono::milliseconds(100);

}  // namespace

std::vector<NamedCheckpoint> parse_models(const std::vector<std::string>& models) {
  std::vector<NamedCheckpoint> checkpoints;
  for (const std::string& model : models) {
    const std::size_t equals = std::filesystem::is_directory(model) ? std::string::npos : model.find('=');
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

void RewardServer::add(const NamedCheckpoint& checkpoint, std::shared_ptr<const ModelVersion> version) {
  served_.push_back({checkpoint.name, checkpoint.directory, std::move(version)});
}

const RewardServer::Served* RewardServer::find(const std::string& model) const {
  if (model.empty()) return &served_.front();
  for (const Served& served : served_)
    if (served.name == model || served.directory == model) return &served;
  return nullptr;
}

RewardServer::Served& RewardServer::require(const std::string& model) {
  const Served* served = find(model);
  if (served == nullptr) fail_input("model: expected a served one, got {}", model);
  return const_cast<Served&>(*served);
}

std::shared_ptr<ModelVersion> RewardServer::open(const std::string& directory) {
  const std::lock_guard one_at_a_time(opening_);
  return open_(directory);
}

std::shared_ptr<const ModelVersion> RewardServer::version(const std::string& model) const {
  const std::lock_guard lock(mutex_);
  return const_cast<RewardServer*>(this)->require(model).version;
}

std::vector<std::optional<float>> RewardServer::score_by(const std::shared_ptr<const ModelVersion>& version,
                                                         const std::vector<ScoreItem>& items, const std::function<bool()>& stop) {
  std::vector<std::optional<float>> rewards(items.size());
  std::vector<TokenIds> sequences;
  std::vector<std::size_t> places;
  std::int64_t tokens = 0;
  const std::int64_t part_rows = std::clamp<std::int64_t>(limits_.rows / 2, 1, kPartRows);
  const auto score_part = [&] {
    const std::vector<float> scored = score_own(version, sequences, stop);
    for (std::size_t i = 0; i < places.size(); ++i) rewards[places[i]] = scored[i];
    sequences.clear();
    places.clear();
    tokens = 0;
  };
  for (std::size_t i = 0; i < items.size(); ++i) {
    std::optional<TokenIds> sequence = version->tokens(items[i]);
    if (!sequence) continue;
    const auto length = static_cast<std::int64_t>(sequence->size());
    const bool is_full = std::ssize(places) >= part_rows || tokens + length > limits_.tokens_per_batch / kParts;
    if (!places.empty() && is_full) score_part();
    tokens += length;
    sequences.push_back(std::move(*sequence));
    places.push_back(i);
  }
  score_part();
  return rewards;
}

std::vector<float> RewardServer::score_own(const std::shared_ptr<const ModelVersion>& version, const std::vector<TokenIds>& sequences,
                                           const std::function<bool()>& stop) {
  while (!stop()) {
    const ScoreResult result = queue_.score(version, sequences, ScoreQueue::Clock::time_point::max(), stop, ScoreQueue::Asker::server);
    if (result.outcome == ScoreOutcome::scored) return result.rewards;
    if (result.outcome != ScoreOutcome::full) break;
    std::this_thread::sleep_for(kPause);
  }
  fail_io("expected rewards, but it was called off");
}

ScoreReply RewardServer::score(const ScoreQuery& query) {
  ScoreReply reply;
  std::shared_ptr<const ModelVersion> version;
  {
    const std::lock_guard lock(mutex_);
    const Served* served = find(query.model);
    if (served == nullptr) {
      reply.outcome = ScoreOutcome::unknown_model;
      return reply;
    }
    version = served->version;
    reply.model = served->name;
  }
  reply.version = version->id();
  reply.label = version->label();
  reply.max_length = version->max_length();

  std::vector<TokenIds> sequences;
  for (const ScoreItem& item : query.items) {
    bool shortened = false;
    std::optional<TokenIds> tokens = version->tokens(item, &shortened);
    reply.truncated += shortened;
    reply.tokens.push_back(tokens ? static_cast<std::int64_t>(tokens->size()) : 0);
    if (tokens) sequences.push_back(std::move(*tokens));
  }
  ScoreResult result = queue_.score(version, std::move(sequences), query.deadline, query.abandoned);
  reply.outcome = result.outcome;
  reply.retry_after_s = result.retry_after_s;
  if (result.outcome != ScoreOutcome::scored) return reply;

  if (query.attributions) attribute(query, *version, reply);
  if (reply.outcome != ScoreOutcome::scored) return reply;
  std::size_t next = 0;
  const std::lock_guard lock(mutex_);
  Served& served = require(reply.model);
  for (const std::int64_t tokens : reply.tokens) {
    const auto taken = [&](const std::vector<float>& numbers) { return tokens > 0 ? std::optional(numbers[next]) : std::nullopt; };
    reply.rewards.push_back(taken(result.rewards));
    if (!result.deviations.empty()) reply.deviations.push_back(taken(result.deviations));
    next += tokens > 0;
    served.tokens += tokens;
    served.rows += tokens > 0;
    served.too_long += tokens == 0;
  }
  served.truncated += reply.truncated;
  return reply;
}

ScoreOutcome RewardServer::outcome_so_far(const ScoreQuery& query) const {
  if (closing_) return ScoreOutcome::closing;
  if (ScoreQueue::Clock::now() > query.deadline) return ScoreOutcome::late;
  return query.abandoned && query.abandoned() ? ScoreOutcome::abandoned : ScoreOutcome::scored;
}

void RewardServer::attribute(const ScoreQuery& query, const ModelVersion& version, ScoreReply& reply) {
  for (const ScoreItem& item : query.items) {
    std::unique_lock one_at_a_time(attributing_, std::defer_lock);
    do {
      reply.outcome = outcome_so_far(query);
      if (reply.outcome != ScoreOutcome::scored) return;
    } while (!one_at_a_time.try_lock_for(kPause));
    const std::optional<TokenIds> tokens = version.tokens(item);
    reply.attributions.push_back(tokens ? version.attribute(*tokens) : ItemAttribution());
  }
}

bool RewardServer::is_named(const std::string& model, const std::string& name) const {
  const std::lock_guard lock(mutex_);
  const Served* served = find(model);
  return served != nullptr && served->name == name;
}

std::vector<ServedModel> RewardServer::models() const {
  const std::lock_guard lock(mutex_);
  std::vector<ServedModel> models;
  for (const Served& served : served_)
    models.push_back({served.name, served.version->id(), served.version->max_length(), served.version->loaded_at_s(), served.rows,
                      served.tokens, served.truncated, served.too_long});
  return models;
}

void RewardServer::swap_version(const std::string& model, std::shared_ptr<const ModelVersion> version) {
  std::shared_ptr<const ModelVersion> old;  // is freed outside the lock, once its last query has ended
  const std::lock_guard lock(mutex_);
  old = std::exchange(require(model).version, std::move(version));
}

}  // namespace metarm
