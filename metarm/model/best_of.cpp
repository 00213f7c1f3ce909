#include "metarm/model/best_of.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "metarm/base/error.h"

namespace metarm {

namespace {

OpenRewardModel open_scorer(const std::string& directory, const CommonOptions& common, Log& log) {
  ScoringOptions scoring;
  scoring.max_length = 0;  // a response is scored whole
  return open_reward_model(directory, scoring, common, log);
}

}  // namespace

BestOf::BestOf(const std::string& reward_model, const CommonOptions& common, std::int64_t tokens_per_batch, Log& log)
    : scorer_(open_scorer(reward_model, common, log)), tokens_per_batch_(tokens_per_batch), log_(log) {}

void BestOf::keep_best(std::vector<ResponseGroup>& groups) const {
  Encoder encoder = scorer_.encoder();
  std::vector<std::vector<TokenIds>> sequences;
  for (const ResponseGroup& group : groups) {
    std::vector<TokenIds>& of_group = sequences.emplace_back();
    for (const Content& response : group.responses) {
      std::optional<TokenIds> sequence = encoder.sequence(group.prompt, response, group.where);
      if (!sequence)
        fail_input("{}: --best-of: expected responses of up to {} of the reward model's tokens, by its positions, got a longer one",
                   group.where, scorer_.max_length);
      of_group.push_back(std::move(*sequence));
    }
  }
  for (const std::string& note : encoder.report().notes("the reward model's positions")) log_.info(note);
  const std::vector<std::vector<float>> rewards = scorer_.scorer.score(sequences, tokens_per_batch_).rewards;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto best = static_cast<std::size_t>(std::ranges::max_element(rewards[i]) - rewards[i].begin());
    keep_responses(groups[i], std::span(&best, 1));
    groups[i].rewards = {rewards[i][best]};
  }
}

}  // namespace metarm
