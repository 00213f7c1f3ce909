// What the protocols ask for, and the reward server answers: texts in, rewards out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "metarm/data/rows.h"
#include "metarm/text/tokenizer.h"

namespace metarm {

struct ScoreItem {
  std::optional<Content> prompt;
  std::variant<Content, TokenIds> text;
  TextForm form = TextForm::response;
  std::string where = {};                   // the field that it came from, for errors
  std::optional<Content> told_prompt = {};  // what the client says the prompt in `text` is: for the shift log alone
};

struct ScoreQuery {
  std::string model;  // empty: the first one served
  std::vector<ScoreItem> items;
  std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  std::function<bool()> abandoned;   // whether the client has gone; may be empty
  std::optional<std::int64_t> step;  // of the trainer, where it says so
  bool attributions = false;         // whether it also asks which tokens the rewards come from
};

// Which tokens a reward comes from, by prefixes (model/attribution.h): the values add up to reward - baseline_reward.
struct TokenValue {
  std::string token;
  double value;
};
struct ItemAttribution {
  std::vector<TokenValue> tokens;
  double baseline_reward = 0;
};

enum class ScoreOutcome {
  scored,
  full,           // refused: the queue holds as many rows as it may
  late,           // the deadline passed first
  abandoned,      // the client went first
  closing,        // refused: the server is about to end
  superseded,     // refused: the trainer has begun another run meanwhile
  unknown_model,  // none of this name
};

struct ScoreReply {
  ScoreOutcome outcome = ScoreOutcome::scored;
  std::string model, version;                         // what scored, even where others were loaded meanwhile: one version a query
  std::vector<std::optional<float>> rewards;          // one an item; none where it is longer than max_length
  std::vector<std::int64_t> tokens;                   // one an item; 0 where it is too long
  std::int64_t max_length = 0;                        // tokens; 0: no limit
  double retry_after_s = 0;                           // when full
  std::vector<ItemAttribution> attributions;          // where asked for: one an item, empty for one that is too long
  std::vector<std::optional<float>> deviations = {};  // of an ensemble's members: one an item, as rewards; empty for one reward model
  std::int64_t truncated = 0;                         // items whose prompt lost its oldest tokens
  std::string label = {};                             // of the output, as the checkpoint names it
};

struct ServedModel {
  std::string name, version;
  std::int64_t max_length = 0;
  std::int64_t loaded_at_s = 0;       // since 1970
  std::int64_t rows = 0, tokens = 0;  // scored so far
  std::int64_t truncated = 0;         // of these, with a prompt that lost its oldest tokens
  std::int64_t too_long = 0;          // not scored
};

struct QueueState {
  std::int64_t rows = 0, tokens = 0;  // waiting
  std::int64_t batches = 0;           // forward passes so far, and the tokens of their trees
  std::int64_t tree_tokens = 0;
  std::int64_t abandoned = 0, late = 0, refused = 0;  // requests
};

class RewardService {
 public:
  virtual ~RewardService() = default;
  // Waits for the rewards. Input errors name an item's `where`; others are those of scoring.
  virtual ScoreReply score(const ScoreQuery& query) = 0;
  virtual void close() = 0;  // before the server ends: whoever waits for anything but rewards waits no longer
  virtual std::vector<ServedModel> models() const = 0;
  virtual QueueState queue() const = 0;
  // Documents of /v1/status, /v1/versions and /v1/samples (docs/serving.md). Administrators alone read what names files or comes from other
  // programs.
  virtual Json status(bool for_admin) const = 0;
  virtual Json versions() const = 0;
  virtual Json samples() const = 0;
  // Begins an alignment; nullopt: it has begun, else why it does not.
  virtual std::optional<std::string> begin_alignment() = 0;
  // Serves this version again. Queries that were accepted before end with the version they began with. Input error for one that is unknown
  // or was not admitted. Returns {"version", "id"}.
  virtual Json roll_back(std::int64_t version) = 0;
};

}  // namespace metarm
