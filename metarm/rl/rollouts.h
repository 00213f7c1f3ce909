// Rollouts: responses that the policy draws, and what reward models and the reference policy think of them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "metarm/model/generate.h"
#include "metarm/model/open.h"
#include "metarm/rl/ppo_options.h"
#include "metarm/rl/response_pass.h"

namespace metarm {

struct PolicyPrompts {
  std::vector<Prompt> rows;
  std::vector<TokenIds> tokens;
};
// Input errors for bad rows, empty prompts, and none at all.
PolicyPrompts load_policy_prompts(const std::vector<std::string>& files, const TrainingSetup& setup, std::int64_t max_prompt_length,
                                  const SequenceOptions& sequences, Log& log);

// k responses to each of some prompts: P prompts, B = P k rows in the order of prompts, S response tokens in the order of rows. Every rank
// has all of them.
struct Rollouts {
  std::vector<std::int64_t> prompts;       // P: which of those given
  std::int64_t responses = 0;              // k
  std::vector<std::string> texts;          // B, of the responses
  std::vector<EncodedResponse> rows;       // B, prompt and response
  std::vector<std::int64_t> row_begin;     // B + 1: where a row's tokens begin
  std::vector<float> log_prob_S;           // of the policy that drew them
  std::vector<char> ended;                 // B: by themselves
  std::vector<std::vector<float>> reward;  // [P][k]
  std::vector<std::vector<float>> spread;  // [P][k], deviation of the rewards of an ensemble's members; empty for one reward model
  std::vector<std::vector<float>> gold;    // [P][k], empty without a gold reward model
  std::int64_t row_count() const { return static_cast<std::int64_t>(rows.size()); }
  // The rows of the p-th prompt, and their tokens.
  Part rows_of(std::size_t p) const {
    const auto begin = static_cast<std::int64_t>(p) * responses;
    return {begin, begin + responses};
  }
  Part tokens_of(std::size_t p) const {
    return {row_begin[static_cast<std::size_t>(rows_of(p).begin)], row_begin[static_cast<std::size_t>(rows_of(p).end)]};
  }
};

class RolloutMaker {
 public:
  RolloutMaker(const PpoOptions& options, const TrainingSetup& setup, Log& log);

  // Responses to the `prompts` at `rows`, a function of (the policy's compute copy, seed, rows); all ranks together, each draws and scores
  // those to its part of the rows. Input error for a response that is longer than the reward model's --max-length.
  Rollouts make(const PolicyPrompts& prompts, std::span<const std::int64_t> rows, std::uint64_t seed) const;

  // Of the reward models.
  std::vector<Weights*> frozen_weights();

 private:
  std::vector<GeneratedResponse> draw(std::span<const TokenIds> prompts, const Part& own, std::uint64_t seed) const;
  GroupRewards score(const OpenRewardModel& opened, const Rollouts& rollouts, const PolicyPrompts& prompts, const Part& own) const;

  const PpoOptions& options_;
  const TrainingSetup& setup_;
  std::vector<TokenId> end_tokens_;
  OpenRewardModel rm_;
  std::optional<OpenRewardModel> gold_;
};

// Writes them as response groups with their rewards, which `align` and `sft` read.
void save_rollouts(const std::string& path, const Rollouts& rollouts, const PolicyPrompts& prompts);

// What the rollouts show, over all responses: reward and its deviation, reward_std (an ensemble's mean spread), gold_reward, gold_accuracy
// (share of pairs of one prompt's responses that the reward model orders as the gold one), reward_difference_mean and _variance within
// prompts, response_length in tokens, ended. With a `unit` of rewards (0: none) also that, as reward_difference_unit, and in it
// reward_difference_scaled_mean, _near_ties and _histogram, as DifferenceStatistics has them.
Json describe(const Rollouts& rollouts, double unit = 0);

}  // namespace metarm
