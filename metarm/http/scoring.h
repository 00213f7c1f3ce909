// One HTTP request's way to the rewards: what all protocols do alike, whatever the form of their bodies.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "metarm/base/json_lines.h"
#include "metarm/http/reward_service.h"

namespace metarm {

// An answer that is no success and no Error: its status, and one line for people.
class Refusal : public std::runtime_error {
 public:
  Refusal(int status, const std::string& message, double retry_after_s = 0)
      : std::runtime_error(message), status_(status), retry_after_s_(retry_after_s) {}
  int status() const { return status_; }
  double retry_after_s() const { return retry_after_s_; }  // 0: not said

 private:
  int status_;
  double retry_after_s_;
};

// A list without a text, which TEI's protocol alone refuses.
class EmptyInput : public Refusal {
 public:
  explicit EmptyInput(const std::string& field) : Refusal(400, field + ": expected some texts, got none") {}
};

std::string requested_model(const Json& body);  // its field `model`; empty: none, the first one served

struct Scores {
  std::string model;
  std::vector<std::optional<float>> rewards;
  std::vector<std::int64_t> tokens;
  std::int64_t total_tokens() const;
};

class Scoring {
 public:
  // `query`: what the request says beside its body; model and items are set here.
  Scoring(RewardService& service, std::int64_t max_rows, ScoreQuery query)
      : service_(service), max_rows_(max_rows), query_(std::move(query)) {}

  RewardService& service() { return service_; }
  // The items' rewards by the model that `body` names in its field `model` (absent, null or empty: the first). Refusals: 404 for an unknown
  // model, 413 for more than max_rows items, 429 when the queue is full, 499 when the client has gone, 503 when late or closing.
  Scores score_any(const Json& body, std::vector<ScoreItem> items);
  // The same where none may be too long: input error that names the item.
  Scores score(const Json& body, std::vector<ScoreItem> items);

  void ask_for_attributions() { query_.attributions = true; }

  // What was scored, for the log and the answer's headers.
  const ScoreReply& reply() const { return reply_; }

 private:
  RewardService& service_;
  std::int64_t max_rows_;
  ScoreQuery query_;
  ScoreReply reply_;
};

}  // namespace metarm
