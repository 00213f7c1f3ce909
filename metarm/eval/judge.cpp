#include "metarm/eval/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/eval/evaluate.h"
#include "metarm/eval/judge_server.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

void check_options(const JudgeOptions& options, const Parsed& parsed, const Ranks& ranks) {
  const bool by_server = !options.server.server.empty();
  if (by_server == !options.rm.empty()) fail_input("judge: expected --rm or --server, got {}", by_server ? "both" : "neither");
  if (!by_server) return;
  refuse_given("judge", parsed, list_fields(options.scoring), {"skip-bad-rows"}, "server");
  refuse_given("judge", parsed, list_fields(options.common), {"seed", "json", "quiet"}, "server");
  if (ranks.size() > 1) fail_input("judge: --server: expected one process, got {} ranks; --concurrency does it", ranks.size());
}

// Each group of b goes to the group of a with the same prompt; prompts that occur more than once, in their order. A group without a partner
// is an error, or with `leave_out`, where the partner may be a row that was skipped, left out.
std::vector<MatchedGroups> match_groups(std::vector<ResponseGroup> a, std::vector<ResponseGroup> b, const JudgeOptions& options,
                                        bool leave_out, Log& log) {
  std::int64_t left_out = 0;
  const auto miss = [&](const ResponseGroup& group, const std::string& file) {
    if (!leave_out) fail_input("{}: prompt: expected the same prompt in {}, got none", group.where, file);
    ++left_out;
  };
  std::map<std::string, std::deque<ResponseGroup>> by_prompt;
  for (ResponseGroup& group : b) by_prompt[to_json(group.prompt).dump()].push_back(std::move(group));
  std::vector<MatchedGroups> matched;
  for (ResponseGroup& group : a) {
    std::deque<ResponseGroup>& others = by_prompt[to_json(group.prompt).dump()];
    if (others.empty()) {
      miss(group, options.b);
      continue;
    }
    matched.push_back({std::move(group), std::move(others.front())});
    others.pop_front();
  }
  for (const auto& [prompt, others] : by_prompt)
    for (const ResponseGroup& group : others) miss(group, "the file of --a");
  if (left_out > 0) log.warn(fmt::format("{} groups were left out: their prompts are in one file only, as rows were skipped", left_out));
  if (matched.empty()) fail_input("{}: expected prompts of {}, got none of them", options.b, options.a);
  return matched;
}

std::vector<Comparison> list_comparisons(std::span<const MatchedGroups> groups, Compare compare) {
  std::vector<Comparison> comparisons;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const bool all = compare == Compare::all;
    for (std::size_t a = 0; a < (all ? groups[i].a.responses.size() : 1); ++a)
      for (std::size_t b = 0; b < (all ? groups[i].b.responses.size() : 1); ++b) comparisons.push_back({i, a, b});
  }
  return comparisons;
}

// Of an ensemble with its members' deviation.
struct Reward {
  float value;
  std::optional<float> deviation;
};
// A prompt's sequences are one token tree: those of a, then those of b. Absent: too long to score.
struct ScoredPrompt {
  std::vector<std::optional<Reward>> a, b;
};

std::vector<ScoredPrompt> score_prompts(const JudgeOptions& options, std::span<const MatchedGroups> groups, Ranks& ranks, Log& log) {
  const OpenRewardModel opened = open_reward_model(options.rm, options.scoring, options.common, log);
  Encoder encoder = opened.encoder();
  std::vector<ScoredPrompt> scored(groups.size());
  std::vector<std::vector<TokenIds>> sequences(groups.size());
  std::vector<std::vector<std::optional<Reward>*>> places(groups.size());  // of each sequence's reward
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto add = [&](const ResponseGroup& group, std::vector<std::optional<Reward>>& rewards) {
      rewards.resize(options.compare == Compare::all ? group.responses.size() : 1);
      for (std::size_t j = 0; j < rewards.size(); ++j)
        if (std::optional<TokenIds> tokens = encoder.sequence(group, j)) {
          sequences[i].push_back(std::move(*tokens));
          places[i].push_back(&rewards[j]);
        }
    };
    add(groups[i].a, scored[i].a);
    add(groups[i].b, scored[i].b);
  }
  const auto show = [&](std::int64_t done) { log.progress("scoring", done, static_cast<std::int64_t>(groups.size()), ""); };
  const auto [rewards, deviations] = score_groups(ranks, opened.scorer, sequences, options.scoring.tokens_per_batch, show);
  for (std::size_t i = 0; i < groups.size(); ++i)
    for (std::size_t j = 0; j < places[i].size(); ++j)
      *places[i][j] = Reward{rewards[i][j], deviations.empty() ? std::nullopt : std::optional(deviations[i][j])};
  for (const std::string& note : encoder.report().notes()) log.info(note);
  return scored;
}

void add_reward(Json& evidence, const std::string& field, const std::optional<Reward>& reward) {
  evidence[field] = reward ? Json(reward->value) : Json(nullptr);
  if (reward && reward->deviation) evidence[field + "_std"] = *reward->deviation;
}

std::vector<Judgement> judge_by_rewards(const JudgeOptions& options, std::span<const MatchedGroups> groups,
                                        std::span<const Comparison> comparisons, Ranks& ranks, Log& log) {
  const std::vector<ScoredPrompt> scored = score_prompts(options, groups, ranks, log);
  std::vector<Judgement> judgements;
  for (const Comparison& comparison : comparisons) {
    const std::optional<Reward> a = scored[comparison.prompt].a[comparison.a], b = scored[comparison.prompt].b[comparison.b];
    Judgement& judgement = judgements.emplace_back();
    add_reward(judgement.evidence, "a_reward", a);
    add_reward(judgement.evidence, "b_reward", b);
    if (!a || !b) continue;
    const MatchedGroups& group = groups[comparison.prompt];
    const bool equal = group.a.responses[comparison.a] == group.b.responses[comparison.b];  // whose rewards differ by rounding at most
    const double difference = static_cast<double>(a->value) - b->value;
    judgement.outcome = equal || std::abs(difference) <= options.margin ? Outcome::tie : difference > 0 ? Outcome::win : Outcome::lose;
  }
  return judgements;
}

Json output_row(const MatchedGroups& group, const Comparison& comparison, const Judgement& judgement) {
  Json row = {{"prompt", to_json(group.a.prompt)},
              {"a", to_json(group.a.responses[comparison.a])},
              {"b", to_json(group.b.responses[comparison.b])},
              {"outcome", judgement.outcome ? Json(outcome_name(*judgement.outcome)) : Json(nullptr)}};
  row.update(judgement.evidence);
  if (!group.a.subset.empty()) row["subset"] = group.a.subset;
  if (!group.a.id.empty()) row["id"] = group.a.id;
  return row;
}

void write_rows(const std::string& path, std::span<const MatchedGroups> groups, std::span<const Comparison> comparisons,
                std::span<const Judgement> judgements) {
  AtomicFile file(path);
  for (std::size_t i = 0; i < comparisons.size(); ++i)
    file.write(output_row(groups[comparisons[i].prompt], comparisons[i], judgements[i]).dump() + "\n");
  file.commit();
}

// The figures of all prompts, and of each subset where there is more than the one without a name.
void sum_up(JudgeSummary& summary, const JudgeOptions& options, std::span<const MatchedGroups> groups,
            std::span<const Comparison> comparisons, std::span<const Judgement> judgements) {
  std::vector<std::vector<Outcome>> by_prompt(groups.size());
  for (std::size_t i = 0; i < comparisons.size(); ++i) {
    if (judgements[i].outcome)
      by_prompt[comparisons[i].prompt].push_back(*judgements[i].outcome);
    else
      ++summary.not_judged;
  }
  std::vector<std::vector<Outcome>> all;
  std::map<std::string, std::vector<std::vector<Outcome>>> subsets;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (by_prompt[i].empty()) continue;
    all.push_back(by_prompt[i]);
    subsets[groups[i].a.subset].push_back(std::move(by_prompt[i]));
  }
  const auto seed = static_cast<std::uint64_t>(options.common.seed);
  summary.all = win_rates(all, seed, options.bootstrap_samples);
  if (subsets.size() == 1 && subsets.begin()->first.empty()) return;
  for (const auto& [name, outcomes] : subsets) summary.subsets.emplace(name, win_rates(outcomes, seed, options.bootstrap_samples));
}

}  // namespace

JudgeSummary judge(const JudgeOptions& options, const Parsed& parsed, const std::string& api_key, Ranks& ranks, Log& log) {
  check_options(options, parsed, ranks);
  JudgeSummary summary;
  const auto read = [&](const std::string& file) {
    Rows<ResponseGroup> rows = read_response_groups({file}, options.scoring.bad_rows(), 1);
    log_skipped(rows.report, log);
    summary.skipped += rows.report.skipped;
    return std::move(rows.rows);
  };
  std::vector<ResponseGroup> a = read(options.a), b = read(options.b);
  const std::vector<MatchedGroups> groups = match_groups(std::move(a), std::move(b), options, summary.skipped > 0, log);
  const std::vector<Comparison> comparisons = list_comparisons(groups, options.compare);
  const std::vector<Judgement> judgements =
      options.rm.empty() ? judge_by_server(options, make_server(options.server, api_key), groups, comparisons, summary.use.emplace(), log)
                         : judge_by_rewards(options, groups, comparisons, ranks, log);
  sum_up(summary, options, groups, comparisons, judgements);
  if (summary.all.prompts == 0) fail_input("judge: expected responses that fit in --max-length {}, got none", options.scoring.max_length);
  if (!options.output.empty() && ranks.first()) write_rows(options.output, groups, comparisons, judgements);
  return summary;
}

double cost(const JudgeOptions& options, const JudgeUse& use) {
  return (static_cast<double>(use.input_tokens) * options.price_per_million_input +
          static_cast<double>(use.output_tokens) * options.price_per_million_output) /
         1e6;
}

}  // namespace metarm
