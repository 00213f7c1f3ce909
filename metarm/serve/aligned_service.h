// The reward server as the protocols see it: rewards of its models, and of the first one what it learns from them, its versions and its
// alignment.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "metarm/http/reward_service.h"
#include "metarm/serve/reward_server.h"
#include "metarm/serve/self_alignment.h"
#include "metarm/serve/shift_watch.h"
#include "metarm/serve/status_history.h"

namespace metarm {

struct AlignedServiceOptions {
  std::string state;  // folder of log, versions and events; empty: nothing is kept, nothing is aligned
  std::optional<ShiftLogOptions> log;
  ShiftTestOptions test;
  std::int64_t reference_groups = 256;
  SelfAlignmentOptions alignment;
};

class AlignedService : public RewardService {
 public:
  // Opens all checkpoints; of the first one, the version that `state` says is current. Input error for the state of another model.
  AlignedService(const std::vector<NamedCheckpoint>& checkpoints, RewardServer::OpenVersion open, const QueueLimits& limits,
                 const AlignedServiceOptions& options, Log& log);
  ~AlignedService() override;

  ScoreReply score(const ScoreQuery& query) override;
  void close() override {
    server_.close();
    if (alignment_) alignment_->close();
  }
  std::vector<ServedModel> models() const override { return server_.models(); }
  QueueState queue() const override { return server_.queue(); }
  Json status(bool for_admin) const override;
  Json versions() const override;
  Json samples() const override { return watch_.samples(); }
  std::optional<std::string> begin_alignment() override;
  Json roll_back(std::int64_t version) override;

 private:
  ScoreReply score_now(const ScoreQuery& query);
  void add_points();
  StatusHistory::Point point(double seconds);

  const std::string model_;  // the first one's name
  const bool by_steps_;
  const double started_s_;
  std::unique_ptr<RmVersions> versions_;  // null: there is no state
  RewardServer server_;
  ShiftWatch watch_;
  std::unique_ptr<SelfAlignment> alignment_;

  mutable std::mutex mutex_;  // over what follows
  StatusHistory history_;
  std::int64_t rows_ = 0, tokens_ = 0;  // at the last point
  bool ending_ = false;
  std::condition_variable end_;
  std::thread points_;
};

}  // namespace metarm
