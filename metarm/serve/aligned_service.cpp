#include "metarm/serve/aligned_service.h"

#include <chrono>
#include <filesystem>
#include <utility>

#include "metarm/base/error.h"
#include "metarm/base/stopwatch.h"
#include "metarm/base/wall_clock.h"
#include "metarm/model/checkpoint_digest.h"

namespace metarm {

namespace {

namespace fs = std::filesystem;

constexpr auto kPointTime = std::chrono::seconds(5);
constexpr std::size_t kPoints = 720;

std::string whole_path(const std::string& directory) { return fs::absolute(directory).lexically_normal().string(); }

// The version of `versions` to serve, `checkpoint` being the first one where there is none.
RmVersion current_version(RmVersions& versions, const std::string& state, const NamedCheckpoint& checkpoint) {
  const std::string id = digest_checkpoint(checkpoint.directory);
  if (versions.all().empty()) {
    RmVersion first;
    first.admitted = true;
    first.reasons = {"the model that the server was started with"};
    first.checkpoint = checkpoint.directory;
    first.measures["id"] = id;
    versions.add_outside(std::move(first));
  }
  const RmVersion first = versions.version(1);
  if (first.checkpoint != whole_path(checkpoint.directory))
    fail_input("{}: expected the state of {}, got that of {}; --state names another folder", state, whole_path(checkpoint.directory),
               first.checkpoint);
  if (first.measures.value("id", "") != id)
    fail_input("{}: expected the weights that this state began with, got others in {}; --state names another folder", state,
               checkpoint.directory);
  if (!versions.current()) versions.make_current(1);
  return *versions.current();
}

}  // namespace

AlignedService::AlignedService(const std::vector<NamedCheckpoint>& checkpoints, RewardServer::OpenVersion open, const QueueLimits& limits,
                               const AlignedServiceOptions& options, Log& log)
    : model_(checkpoints.front().name),
      by_steps_(options.alignment.steps > 0),
      started_s_(seconds_since_1970()),
      versions_(options.state.empty() ? nullptr : std::make_unique<RmVersions>(options.state)),
      server_(open, limits),
      watch_(
          {options.log, options.test, options.reference_groups},
          [this] {
            if (alignment_) alignment_->notice();
          },
          log),
      history_(kPoints) {
  for (const NamedCheckpoint& checkpoint : checkpoints) {
    const bool is_first = checkpoint.name == model_;
    std::shared_ptr<ModelVersion> opened;
    if (versions_ && is_first) {
      const RmVersion version = current_version(*versions_, options.state, checkpoint);
      opened = open(version.checkpoint);
      opened->serve_by(version.map);
    } else {
      opened = open(checkpoint.directory);
    }
    if (is_first) watch_.split_by(marks_of(opened->chat(), opened->start_token()));
    server_.add(checkpoint, opened);
  }
  if (versions_) alignment_ = std::make_unique<SelfAlignment>(options.alignment, options.state, *versions_, model_, server_, watch_, log);
  points_ = std::thread([this] { add_points(); });
}

AlignedService::~AlignedService() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  end_.notify_all();
  points_.join();
}

ScoreReply AlignedService::score(const ScoreQuery& query) {
  if (!alignment_ || !by_steps_ || !query.step || !server_.is_named(query.model, model_)) return score_now(query);
  const Stopwatch waiting;
  ScoreReply reply;
  reply.outcome = alignment_->wait_for_step(*query.step, query.abandoned);
  if (reply.outcome != ScoreOutcome::scored) return reply;
  ScoreQuery afterwards = query;  // its own time begins when the alignment is decided
  if (query.deadline != std::chrono::steady_clock::time_point::max())
    afterwards.deadline +=
        std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(waiting.seconds()));
  return score_now(afterwards);
}

ScoreReply AlignedService::score_now(const ScoreQuery& query) {
  ScoreReply reply = server_.score(query);
  if (reply.outcome == ScoreOutcome::scored && reply.model == model_) watch_.add(query, reply);
  return reply;
}

std::optional<std::string> AlignedService::begin_alignment() {
  return alignment_ ? alignment_->begin() : "expected a server with --pairs to align with, got one without";
}

Json AlignedService::roll_back(std::int64_t version) {
  if (!alignment_) fail_input("version: expected a server that keeps versions, got one with --no-log");
  return alignment_->roll_back(version);
}

Json AlignedService::versions() const {
  return alignment_ ? alignment_->versions() : Json{{"current", nullptr}, {"versions", Json::array()}};
}

Json AlignedService::status(bool for_admin) const {
  Json models = Json::array();
  for (const ServedModel& model : server_.models())
    models.push_back({{"name", model.name},
                      {"version", model.version},
                      {"rows", model.rows},
                      {"tokens", model.tokens},
                      {"loaded_at", model.loaded_at_s}});
  const QueueState queue = server_.queue();
  Json log = watch_.log_status();
  if (!for_admin && log.is_object() && log["error"] != "") log["error"] = "a key of the role admin sees why";
  Json status = {{"time", seconds_since_1970()},
                 {"started", started_s_},
                 {"models", std::move(models)},
                 {"queue",
                  {{"rows", queue.rows},
                   {"tokens", queue.tokens},
                   {"batches", queue.batches},
                   {"tree_tokens", queue.tree_tokens},
                   {"refused", queue.refused},
                   {"late", queue.late},
                   {"abandoned", queue.abandoned}}},
                 {"log", std::move(log)},
                 {"shift", watch_.test_status()},
                 {"alignment", alignment_ ? alignment_->status() : Json{{"enabled", false}}},
                 {"events", alignment_ ? alignment_->events(for_admin) : Json::array()}};
  const std::lock_guard lock(mutex_);
  status["history"] = history_.to_json();
  return status;
}

// What has happened since the last point, `seconds` ago.
StatusHistory::Point AlignedService::point(double seconds) {
  const ShiftState shift = watch_.test();
  std::int64_t rows = 0, tokens = 0;
  for (const ServedModel& model : server_.models()) {
    rows += model.rows;
    tokens += model.tokens;
  }
  const bool tested = shift.reference_wanted == 0;
  const auto known = [](bool is_known, double value) { return is_known ? std::optional(value) : std::nullopt; };
  return {{"time", seconds_since_1970()},
          {"evidence_differences", known(tested, shift.differences.log10_evidence)},
          {"evidence_rewards", known(tested, shift.rewards.log10_evidence)},
          {"difference_mean", known(shift.differences.window > 0, shift.differences.window_mean)},
          {"reward_mean", known(shift.rewards.window > 0, shift.rewards.window_mean)},
          {"near_ties", known(shift.differences.window > 0, shift.window_near_ties)},
          {"queue_rows", static_cast<double>(server_.queue().rows)},
          {"rows_per_s", static_cast<double>(rows - std::exchange(rows_, rows)) / seconds},
          {"tokens_per_s", static_cast<double>(tokens - std::exchange(tokens_, tokens)) / seconds}};
}

void AlignedService::add_points() {
  std::unique_lock lock(mutex_);
  Stopwatch since_point;
  while (!end_.wait_for(lock, kPointTime, [&] { return ending_; })) {
    if (!history_.takes_next()) continue;
    history_.add(point(since_point.seconds()));
    since_point = {};
  }
}

}  // namespace metarm
