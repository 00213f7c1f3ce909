#include "metarm/eval/evaluation.h"

#include <cmath>
#include <filesystem>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/eval/evaluate.h"
#include "metarm/eval/figures.h"
#include "metarm/eval/measure_outliers.h"
#include "metarm/eval/reward_bench_files.h"
#include "metarm/model/ensemble_config.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

void check_options(const EvalOptions& options, const Parsed& parsed) {
  const bool scores = !options.pairs.empty() || !options.benchmark.empty();
  if (options.model.empty() && options.policy.empty())
    fail_input("eval: expected --model with --pairs or --benchmark, or --policy with --reference-policy, got neither");
  if (!options.model.empty() && !scores) fail_input("eval: --model: expected --pairs or --benchmark with it, got neither");
  if (options.outliers && is_ensemble(options.model))
    fail_input("eval: --outliers: expected one reward model, whose hidden states are compared, got the ensemble {}", options.model);
  if (!options.policy.empty() && options.responses.empty()) fail_input("eval: --policy: expected --responses that it sampled, got none");
  if (!options.responses.empty() && options.pairs.empty()) {
    if (options.policy.empty()) fail_input("eval: --responses: expected --pairs with it, whose rewards give the unit, got none");
    for (const char* option : {"near-tie", "second-rm", "before", "outliers"})
      if (parsed.given.contains(option)) fail_input("eval: --{}: expected --pairs with it, got none; it has no effect so", option);
  }
}

void check_any_fits(const char* option, const EvalOptions& options, std::size_t rows, std::size_t fitting) {
  if (fitting == 0) fail_input("{}: expected rows that fit in --max-length {}, got none of {}", option, options.scoring.max_length, rows);
}

RowsDone show_progress(Log& log, std::string task, std::size_t total) {
  return [&log, task = std::move(task), total](std::int64_t done) { log.progress(task, done, static_cast<std::int64_t>(total), ""); };
}

// Groups with two scored responses at least, without the others.
std::vector<std::vector<float>> scored_groups(const std::vector<std::vector<float>>& by_row) {
  std::vector<std::vector<float>> groups;
  for (std::vector<float> rewards : by_row) {
    std::erase_if(rewards, [](float reward) { return std::isnan(reward); });
    if (rewards.size() >= 2) groups.push_back(std::move(rewards));
  }
  return groups;
}

double correlation_with_length(const std::vector<ResponseGroup>& groups, const std::vector<std::vector<float>>& rewards) {
  std::vector<std::vector<double>> lengths;
  for (const ResponseGroup& group : groups)
    for (std::vector<double>& of_group = lengths.emplace_back(); const Content& response : group.responses)
      of_group.push_back(response_characters(group.prompt, response));
  return length_correlation(rewards, lengths);
}

struct ScoredPairs {
  std::vector<EncodedPair> encoded;
  PairScores scores;
};

struct ScoredGroups {
  GroupScores scores;
  std::optional<GroupOutliers> outliers;
  std::optional<OutlierShare> outlier_share;
};

class Evaluator {
 public:
  Evaluator(const EvalOptions& options, Ranks& ranks, Log& log) : options_(options), ranks_(ranks), log_(log) {
    if (!options.pairs.empty()) pairs_ = read_pairs(options.pairs, options.scoring.bad_rows());
    if (!options.responses.empty())
      groups_ = read_response_groups(options.responses, options.scoring.bad_rows(), options.pairs.empty() ? 1 : 2);
    if (!options.reference_responses.empty()) reference_ = read_response_groups(options.reference_responses, options.scoring.bad_rows(), 1);
    if (!options.benchmark.empty()) benchmark_ = read_benchmark(options.benchmark, options.scoring.bad_rows());
    for (const BadRowReport* report : {&pairs_.report, &groups_.report, &reference_.report, &benchmark_.report}) log_skipped(*report, log);
  }

  Evaluation run() {
    std::optional<AtomicDirectory> output;
    if (!options_.output.empty() && ranks_.first()) output.emplace(options_.output);
    Evaluation evaluation;
    evaluation.model = options_.model;
    ScoredGroups scored;
    if (!options_.model.empty()) scored = run_model(evaluation, output ? output->path() : "");
    if (evaluation.pairs && !options_.responses.empty()) evaluation.responses = evaluate_responses(scored);
    if (!options_.policy.empty())
      evaluation.divergence = measure_policy_divergence(options_.policy, options_.reference_policy, groups_.rows, options_.scoring,
                                                        options_.common, ranks_, log_);
    if (output) write(evaluation, *output);
    return evaluation;
  }

 private:
  OpenRewardModel open(const std::string& directory) const { return open_reward_model(directory, options_.scoring, options_.common, log_); }
  std::int64_t tokens() const { return options_.scoring.tokens_per_batch; }

  // The pairs, the groups and the benchmark under --model.
  ScoredGroups run_model(Evaluation& evaluation, const std::string& output) {
    const OpenRewardModel opened = open(options_.model);
    Encoder encoder = opened.encoder();
    ScoredGroups scored;
    if (!options_.pairs.empty()) {
      const ScoredPairs pairs = score_pair_rows(opened, encoder);
      evaluation.pairs = evaluate_pairs(pairs);
      scored.scores.deviation = evaluation.pairs->statistics.reward_deviation;
      if (!options_.responses.empty()) {
        const std::vector<EncodedGroup> groups = encode_groups(encoder);
        GroupRewards rewards = score_encoded(opened, groups);
        scored.scores.rewards = std::move(rewards.rewards);
        scored.scores.member_deviations = std::move(rewards.deviations);
        if (options_.outliers) find_outliers(scored, opened, encoder, pairs.encoded, groups);
      }
    }
    if (!options_.benchmark.empty()) evaluation.benchmark = run_benchmark(opened, encoder, output);
    report(encoder);
    return scored;
  }

  void find_outliers(ScoredGroups& scored, const OpenRewardModel& opened, Encoder& encoder, const std::vector<EncodedPair>& pairs,
                     const std::vector<EncodedGroup>& groups) const {
    PromptNumbers numbers;
    std::int64_t too_long = 0;
    const PromptSequences reference = options_.reference_responses.empty() ? pair_sequences(pairs_.rows, pairs, numbers)
                                                                           : group_sequences(reference_.rows, encoder, numbers, too_long);
    if (too_long > 0) log_.warn(fmt::format("{} --reference-responses left out: each alone is longer than --max-length", too_long));
    const MeasuredOutliers measured =
        measure_outliers(opened.scorer.only("metarm eval --outliers"), reference, group_sequences(groups_.rows, groups, numbers),
                         {options_.outlier_level, static_cast<std::uint64_t>(options_.common.seed), tokens()}, ranks_, log_);
    scored.outlier_share = measured.share;
    scored.outliers = {values_by_row(groups_.rows, groups, measured.distances), values_by_row(groups_.rows, groups, measured.p_values)};
  }

  ScoredPairs score_pair_rows(const OpenRewardModel& opened, Encoder& encoder) const {
    ScoredPairs pairs{encoder.pairs(pairs_.rows), {}};
    check_any_fits("--pairs", options_, pairs_.rows.size(), pairs.encoded.size());
    pairs.scores = score_pairs(ranks_, opened.scorer, pairs.encoded, tokens(), show_progress(log_, "scoring pairs", pairs.encoded.size()));
    return pairs;
  }

  std::vector<EncodedGroup> encode_groups(Encoder& encoder) const {
    std::vector<EncodedGroup> encoded = encoder.groups(groups_.rows);
    check_any_fits("--responses", options_, groups_.rows.size(), encoded.size());
    return encoded;
  }

  // By row and response.
  GroupRewards score_encoded(const OpenRewardModel& opened, const std::vector<EncodedGroup>& encoded) const {
    const GroupRewards scored =
        score_responses(ranks_, opened.scorer, encoded, tokens(), show_progress(log_, "scoring responses", encoded.size()));
    GroupRewards by_row{values_by_row(groups_.rows, encoded, scored.rewards)};
    if (opened.scorer.is_ensemble()) by_row.deviations = values_by_row(groups_.rows, encoded, scored.deviations);
    return by_row;
  }

  std::vector<std::vector<float>> score_group_rows(const OpenRewardModel& opened, Encoder& encoder) const {
    return score_encoded(opened, encode_groups(encoder)).rewards;
  }

  void report(const Encoder& encoder) const {
    for (const std::string& note : encoder.report().notes()) log_.info(note);
  }

  PairEvaluation evaluate_pairs(const ScoredPairs& pairs) const {
    PairEvaluation evaluation;
    const std::vector<PairRewards>& rewards = pairs.scores.rewards;
    evaluation.statistics = pair_statistics(rewards);
    evaluation.reward_std = mean_deviation(pairs.scores.deviations);
    evaluation.subsets = statistics_by_subset(pairs_.rows, pairs.encoded, rewards);
    std::vector<PairLengths> lengths;
    for (const EncodedPair& pair : pairs.encoded) {
      const Pair& row = pairs_.rows[static_cast<std::size_t>(pair.row)];
      lengths.push_back({response_characters(row.prompt, row.chosen), response_characters(row.prompt, row.rejected)});
    }
    evaluation.length_bias = length_bias(rewards, lengths);
    evaluation.skipped = pairs_.report.skipped;
    return evaluation;
  }

  ResponseEvaluation evaluate_responses(const ScoredGroups& scored) const {
    const GroupScores& scores = scored.scores;
    ResponseEvaluation evaluation;
    evaluation.outliers = scored.outlier_share;
    evaluation.differences = difference_statistics(scored_groups(scores.rewards), scores.deviation, options_.near_tie);
    evaluation.length_correlation = correlation_with_length(groups_.rows, scores.rewards);
    evaluation.reward_std = mean_deviation(scores.member_deviations);
    evaluation.skipped = groups_.report.skipped;
    std::optional<std::vector<std::vector<float>>> second;
    if (!options_.second_rm.empty()) {
      const OpenRewardModel opened = open(options_.second_rm);
      Encoder encoder = opened.encoder();
      second = score_group_rows(opened, encoder);
      report(encoder);
      evaluation.agreement = rank_agreement(scores.rewards, *second, static_cast<std::uint64_t>(options_.common.seed));
    }
    std::optional<GroupScores> before;
    if (!options_.before.empty()) {
      before = scores_before();
      evaluation.spread_loss = spread_loss(*before, scores);
    }
    evaluation.prompts = prompt_rows(groups_.rows, scores, second ? &*second : nullptr, before ? &*before : nullptr,
                                     scored.outliers ? &*scored.outliers : nullptr);
    return evaluation;
  }

  GroupScores scores_before() const {
    if (!std::filesystem::is_directory(options_.before)) return read_group_scores(options_.before, groups_.rows);
    const OpenRewardModel opened = open(options_.before);
    Encoder encoder = opened.encoder();
    const double deviation = pair_statistics(score_pair_rows(opened, encoder).scores.rewards).reward_deviation;
    GroupScores scores{score_group_rows(opened, encoder), deviation};
    report(encoder);
    return scores;
  }

  BenchmarkResult run_benchmark(const OpenRewardModel& opened, Encoder& encoder, const std::string& output) {
    std::vector<BenchmarkItem> items;
    std::vector<std::vector<TokenIds>> sequences;
    for (const BenchmarkItem& item : benchmark_.items) {
      std::vector<TokenIds> of_item;
      for (const std::string& text : item.texts)
        if (auto sequence = encoder.sequence(item.prompt, Conversation{{"assistant", text}}, item.where))
          of_item.push_back(std::move(*sequence));
      if (of_item.size() < item.texts.size()) continue;
      items.push_back(item);
      sequences.push_back(std::move(of_item));
    }
    check_any_fits("--benchmark", options_, benchmark_.items.size(), items.size());
    const auto rewards =
        score_groups(ranks_, opened.scorer, sequences, tokens(), show_progress(log_, "scoring the benchmark", sequences.size())).rewards;
    for (std::size_t i = 0; i < items.size(); ++i) items[i].scores = rewards[i];
    BenchmarkResult result = benchmark_result(benchmark_.version, items);
    result.left_out = static_cast<std::int64_t>(benchmark_.items.size() - items.size());
    result.skipped = benchmark_.report.skipped;
    if (result.left_out > 0)
      log_.warn(fmt::format("{} rows of the benchmark left out: a response alone is longer than --max-length", result.left_out));
    if (!output.empty()) {
      const ChatFormat format = options_.scoring.chat_template;
      const BenchmarkLabels labels{model_label(options_.model),
                                   format == ChatFormat::automatic ? "tokenizer" : std::string(enum_name(format))};
      write_benchmark_files(output, result, items, labels,
                            [&](const Conversation& conversation) { return opened.chat->render(conversation, false); });
    }
    return result;
  }

  void write(const Evaluation& evaluation, AtomicDirectory& output) const {
    const std::filesystem::path folder = output.path();
    write_file((folder / "evaluation.json").string(), to_json(evaluation).dump(2) + "\n");
    if (evaluation.responses) {
      AtomicFile file((folder / "prompts.jsonl").string());
      for (const Json& row : evaluation.responses->prompts) file.write(row.dump() + "\n");
      file.commit();
    }
    output.commit();
  }

  const EvalOptions& options_;
  Ranks& ranks_;
  Log& log_;
  Rows<Pair> pairs_;
  Rows<ResponseGroup> groups_, reference_;
  Benchmark benchmark_;
};

}  // namespace

Evaluation evaluate(const EvalOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  check_options(options, parsed);
  return Evaluator(options, ranks, log).run();
}

}  // namespace metarm
