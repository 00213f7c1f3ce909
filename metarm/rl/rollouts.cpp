#include "metarm/rl/rollouts.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/eval/statistics.h"
#include "metarm/model/response_text.h"

namespace metarm {

namespace {

// Rewards are float32 whatever the policy's compute type.
OpenRewardModel open_scorer(const std::string& directory, const PpoOptions& options, Log& log) {
  ScoringOptions scoring{options.sequences, PoolingChoice::automatic};
  scoring.chat_template = ChatFormat::automatic;  // the option names the policy's
  CommonOptions common = options.common;
  common.dtype = DTypeChoice::float32;
  return open_reward_model(directory, scoring, common, log);
}

// A prompt's row of numbers after another.
std::vector<std::vector<float>> by_prompt(const std::vector<double>& all, std::int64_t responses) {
  std::vector<std::vector<float>> rows;
  for (auto begin = all.begin(); begin != all.end(); begin += responses) rows.emplace_back(begin, begin + responses);
  return rows;
}

std::vector<float> flatten(const std::vector<std::vector<float>>& groups) {
  std::vector<float> all;
  for (const std::vector<float>& group : groups) all.insert(all.end(), group.begin(), group.end());
  return all;
}

double mean_of(std::span<const float> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double deviation_of(std::span<const float> values) {
  const double mean = mean_of(values);
  double squares = 0;
  for (const float value : values) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(values.size()));
}

Json describe_differences(std::span<const std::vector<float>> reward, double unit) {
  const DifferenceStatistics differences = difference_statistics(reward, unit);
  Json figures = {{"reward_difference_mean", differences.mean}, {"reward_difference_variance", differences.variance}};
  if (unit > 0)
    figures.update(Json{{"reward_difference_unit", unit},
                        {"reward_difference_scaled_mean", differences.scaled_mean},
                        {"reward_difference_near_ties", differences.near_ties},
                        {"reward_difference_histogram", differences.histogram}});
  return figures;
}

// Pairs that the gold reward model does not tell apart are not counted; nullopt where there is none.
std::optional<double> gold_accuracy(const std::vector<std::vector<float>>& reward, const std::vector<std::vector<float>>& gold) {
  std::int64_t pairs = 0, right = 0;
  for (std::size_t p = 0; p < gold.size(); ++p)
    for (std::size_t i = 0; i < gold[p].size(); ++i)
      for (std::size_t j = 0; j < gold[p].size(); ++j)
        if (gold[p][i] > gold[p][j]) ++pairs, right += reward[p][i] > reward[p][j];
  return pairs > 0 ? std::optional(static_cast<double>(right) / static_cast<double>(pairs)) : std::nullopt;
}

// All `count` responses of all ranks on every rank, in order; each brings its own, those from `begin`. Numbers come from one rank, the
// others add 0.
std::vector<GeneratedResponse> share_responses(Ranks& ranks, std::vector<GeneratedResponse> own, std::int64_t begin, std::int64_t count) {
  if (ranks.size() == 1) return own;
  std::vector<double> lengths(static_cast<std::size_t>(2 * count), 0.0);  // of each response: tokens, and whether it ended by itself
  for (std::size_t i = 0; i < own.size(); ++i) {
    lengths[2 * (static_cast<std::size_t>(begin) + i)] = static_cast<double>(own[i].tokens.size());
    lengths[2 * (static_cast<std::size_t>(begin) + i) + 1] = own[i].ended ? 1 : 0;
  }
  ranks.sum(lengths);
  std::vector<std::size_t> first = {0};
  for (std::size_t i = 0; i < lengths.size(); i += 2) first.push_back(first.back() + static_cast<std::size_t>(lengths[i]));
  std::vector<double> numbers(2 * first.back(), 0.0);  // of each token: id and log-probability
  for (std::size_t i = 0; i < own.size(); ++i)
    for (std::size_t t = 0; t < own[i].tokens.size(); ++t) {
      double* of_token = &numbers[2 * (first[static_cast<std::size_t>(begin) + i] + t)];
      of_token[0] = own[i].tokens[t];
      of_token[1] = own[i].log_probs[t];
    }
  ranks.sum(numbers);
  std::vector<GeneratedResponse> all(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].ended = lengths[2 * i + 1] != 0;
    for (std::size_t t = first[i]; t < first[i + 1]; ++t) {
      all[i].tokens.push_back(static_cast<TokenId>(numbers[2 * t]));
      all[i].log_probs.push_back(static_cast<float>(numbers[2 * t + 1]));
    }
  }
  return all;
}

}  // namespace

PolicyPrompts load_policy_prompts(const std::vector<std::string>& files, const TrainingSetup& setup, std::int64_t max_prompt_length,
                                  const SequenceOptions& sequences, Log& log) {
  Rows<Prompt> rows = read_prompts(files, sequences.bad_rows());
  log_skipped(rows.report, log);
  PolicyPrompts prompts{std::move(rows.rows), {}};
  Encoder encoder = setup.encoder(0);
  for (const Prompt& row : prompts.rows) {
    prompts.tokens.push_back(encoder.prompt(row.prompt, max_prompt_length, row.where));
    if (prompts.tokens.back().empty()) fail_input("{}: prompt: expected at least one token, got none", row.where);
  }
  for (const std::string& note : encoder.report().notes("--max-prompt-length")) log.info(note);
  if (prompts.tokens.empty()) fail_input("prompts: expected some, got none");
  return prompts;
}

RolloutMaker::RolloutMaker(const PpoOptions& options, const TrainingSetup& setup, Log& log)
    : options_(options),
      setup_(setup),
      end_tokens_(list_end_tokens(*setup.tokenizer, setup.config())),
      rm_(open_scorer(options.rm, options, log)) {
  if (!options.gold_rm.empty()) gold_.emplace(open_scorer(options.gold_rm, options, log));
}

std::vector<Weights*> RolloutMaker::frozen_weights() {
  std::vector<Weights*> all = rm_.scorer.weights();
  if (gold_) std::ranges::copy(gold_->scorer.weights(), std::back_inserter(all));
  return all;
}

Rollouts RolloutMaker::make(const PolicyPrompts& prompts, std::span<const std::int64_t> rows, std::uint64_t seed) const {
  std::vector<TokenIds> tokens;
  std::vector<std::int64_t> costs;
  for (const std::int64_t row : rows) {
    tokens.push_back(prompts.tokens[static_cast<std::size_t>(row)]);
    costs.push_back(static_cast<std::int64_t>(tokens.back().size()) + options_.rollouts.responses * options_.rollouts.max_new_tokens);
  }
  const Part own = consecutive_rows_of_rank(costs, setup_.ranks.rank(), setup_.ranks.size());

  Rollouts made;
  made.prompts.assign(rows.begin(), rows.end());
  made.responses = options_.rollouts.responses;
  made.row_begin.push_back(0);
  const std::int64_t count = static_cast<std::int64_t>(rows.size()) * made.responses;
  for (const GeneratedResponse& response : share_responses(setup_.ranks, draw(tokens, own, seed), own.begin * made.responses, count)) {
    const TokenIds& prompt = tokens[made.rows.size() / static_cast<std::size_t>(made.responses)];
    made.texts.push_back(response_text(*setup_.tokenizer, prompt, response.tokens));
    EncodedResponse& row = made.rows.emplace_back(EncodedResponse{prompt, static_cast<std::int64_t>(prompt.size())});
    row.tokens.insert(row.tokens.end(), response.tokens.begin(), response.tokens.end());
    made.log_prob_S.insert(made.log_prob_S.end(), response.log_probs.begin(), response.log_probs.end());
    made.row_begin.push_back(static_cast<std::int64_t>(made.log_prob_S.size()));
    made.ended.push_back(response.ended);
  }
  GroupRewards scored = score(rm_, made, prompts, own);
  made.reward = std::move(scored.rewards);
  made.spread = std::move(scored.deviations);
  if (gold_) made.gold = score(*gold_, made, prompts, own).rewards;
  return made;
}

// The responses to the prompts of `own`, k to each.
std::vector<GeneratedResponse> RolloutMaker::draw(std::span<const TokenIds> prompts, const Part& own, std::uint64_t seed) const {
  const RolloutOptions& how = options_.rollouts;
  GenerateOptions generation;
  generation.responses = how.responses;
  generation.max_new_tokens = how.max_new_tokens;
  generation.sampling = {how.temperature, how.top_p, how.top_k};
  generation.seed = seed;
  generation.first_prompt = static_cast<std::uint64_t>(own.begin);
  generation.end_tokens = end_tokens_;
  generation.log_probs = true;
  generation.tokens_per_batch = options_.sequences.tokens_per_batch;
  Model policy = setup_.policy();
  pack_for_generation(policy, false);
  std::vector<GeneratedResponse> drawn;
  for (std::vector<GeneratedResponse>& group :
       generate(policy, prompts.subspan(static_cast<std::size_t>(own.begin), static_cast<std::size_t>(own.size())), generation))
    std::ranges::move(group, std::back_inserter(drawn));
  return drawn;
}

// Of texts, so that the reward model may have a tokenizer and a chat template of its own. Each rank scores its `own` prompts' responses.
GroupRewards RolloutMaker::score(const OpenRewardModel& opened, const Rollouts& rollouts, const PolicyPrompts& prompts,
                                 const Part& own) const {
  Encoder encoder = opened.encoder();
  std::vector<std::vector<TokenIds>> groups;
  for (auto p = static_cast<std::size_t>(own.begin); p < static_cast<std::size_t>(own.end); ++p) {
    const Prompt& prompt = prompts.rows[static_cast<std::size_t>(rollouts.prompts[p])];
    std::vector<TokenIds>& group = groups.emplace_back();
    for (std::int64_t row = rollouts.rows_of(p).begin; row < rollouts.rows_of(p).end; ++row) {
      std::optional<TokenIds> sequence = encoder.sequence(prompt.prompt, rollouts.texts[static_cast<std::size_t>(row)], prompt.where);
      if (!sequence)
        fail_input("{}: expected responses of up to {} of the reward model's tokens, by --max-length and its positions, got a longer one",
                   prompt.where, opened.max_length);
      group.push_back(std::move(*sequence));
    }
  }
  const GroupRewards of_own = opened.scorer.score(groups, options_.sequences.tokens_per_batch);
  const auto of_all = [&](const std::vector<std::vector<float>>& numbers) {
    std::vector<double> all(static_cast<std::size_t>(rollouts.row_count()), 0.0);
    std::ranges::copy(flatten(numbers), all.begin() + own.begin * rollouts.responses);
    setup_.ranks.sum(all);
    return by_prompt(all, rollouts.responses);
  };
  GroupRewards scored{of_all(of_own.rewards)};
  if (opened.scorer.is_ensemble()) scored.deviations = of_all(of_own.deviations);
  return scored;
}

void save_rollouts(const std::string& path, const Rollouts& rollouts, const PolicyPrompts& prompts) {
  std::string lines;
  for (std::size_t p = 0; p < rollouts.prompts.size(); ++p) {
    const Prompt& prompt = prompts.rows[static_cast<std::size_t>(rollouts.prompts[p])];
    ResponseGroup group;
    group.prompt = prompt.prompt;
    group.id = prompt.id;
    group.subset = prompt.subset;
    group.rewards.assign(rollouts.reward[p].begin(), rollouts.reward[p].end());
    for (std::int64_t row = rollouts.rows_of(p).begin; row < rollouts.rows_of(p).end; ++row) {
      group.responses.emplace_back(rollouts.texts[static_cast<std::size_t>(row)]);
      group.ended.push_back(rollouts.ended[static_cast<std::size_t>(row)] != 0);
    }
    Json row = to_json(group);
    if (!rollouts.spread.empty()) row["rewards_std"] = rollouts.spread[p];
    lines += row.dump() + "\n";
  }
  write_file(path, lines);
}

Json describe(const Rollouts& rollouts, double unit) {
  const std::vector<float> reward = flatten(rollouts.reward), gold = flatten(rollouts.gold);
  const auto count = static_cast<double>(rollouts.row_count());
  Json figures = {{"reward", mean_of(reward)},
                  {"reward_deviation", deviation_of(reward)},
                  {"response_length", static_cast<double>(rollouts.row_begin.back()) / count},
                  {"ended", static_cast<double>(std::ranges::count(rollouts.ended, 1)) / count}};
  if (!rollouts.spread.empty()) figures["reward_std"] = mean_of(flatten(rollouts.spread));
  if (rollouts.responses >= 2) figures.update(describe_differences(rollouts.reward, unit));
  if (gold.empty()) return figures;
  figures["gold_reward"] = mean_of(gold);
  if (const auto accuracy = gold_accuracy(rollouts.reward, rollouts.gold)) figures["gold_accuracy"] = *accuracy;
  return figures;
}

}  // namespace metarm
