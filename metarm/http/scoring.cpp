#include "metarm/http/scoring.h"

#include <fmt/format.h>

#include <numeric>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

std::string requested_model(const Json& body) {
  const auto found = body.find("model");
  return found != body.end() && found->is_string() ? found->get<std::string>() : "";
}

std::int64_t Scores::total_tokens() const { return std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0}); }

Scores Scoring::score_any(const Json& body, std::vector<ScoreItem> items) {
  const auto rows = static_cast<std::int64_t>(items.size());
  if (rows > max_rows_)
    throw Refusal(413, fmt::format("body: expected at most {} texts, got {}; send them in several requests", max_rows_, rows));
  query_.model = requested_model(body);
  query_.items = std::move(items);
  reply_ = service_.score(query_);
  switch (reply_.outcome) {
    case ScoreOutcome::scored: break;
    case ScoreOutcome::full: throw Refusal(429, "the queue is full; try again later", reply_.retry_after_s);
    case ScoreOutcome::late: throw Refusal(503, "the request took longer than --request-timeout", 1);
    case ScoreOutcome::abandoned: throw Refusal(499, "the client has gone");
    case ScoreOutcome::superseded: throw Refusal(409, "X-Metarm-Step: a trainer has begun again, with lower steps, since this was asked");
    case ScoreOutcome::closing: throw Refusal(503, "the server is shutting down", 1);
    case ScoreOutcome::unknown_model: {
      std::string names;
      for (const ServedModel& served : service_.models()) names += (names.empty() ? "" : ", ") + served.name;
      throw Refusal(404, fmt::format("model: expected one of {}, got another", names));
    }
  }
  return {reply_.model, reply_.rewards, reply_.tokens};
}

Scores Scoring::score(const Json& body, std::vector<ScoreItem> items) {
  std::vector<std::string> places;
  for (const ScoreItem& item : items) places.push_back(item.where);
  Scores scores = score_any(body, std::move(items));
  for (std::size_t i = 0; i < places.size(); ++i)
    if (!scores.rewards[i])
      fail_input("{}: expected at most {} tokens, got more; --max-length of the server and the model's positions say how many", places[i],
                 reply_.max_length);
  return scores;
}

}  // namespace metarm
