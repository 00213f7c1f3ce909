// What `metarm eval` does: figures of a reward model on pairs, on response groups of the current policy and on RewardBench, and how far the
// policy has moved. docs/evaluation.md explains each.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/base/ranks.h"
#include "metarm/eval/length_bias.h"
#include "metarm/eval/outliers.h"
#include "metarm/eval/policy_divergence.h"
#include "metarm/eval/prompt_spread.h"
#include "metarm/eval/rank_agreement.h"
#include "metarm/eval/reward_bench.h"
#include "metarm/eval/statistics.h"
#include "metarm/model/common_options.h"

namespace metarm {

struct EvalOptions {
  std::string model;
  std::vector<std::string> pairs;
  std::vector<std::string> responses;
  double near_tie = 0.1;
  std::string second_rm;
  std::string before;
  bool outliers = false;
  double outlier_level = 0.01;
  std::vector<std::string> reference_responses;
  std::string policy;
  std::string reference_policy;
  std::vector<std::string> benchmark;
  std::string output;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model, {.name = "model", .help = "Reward model: a Hugging Face directory, a PEFT adapter's or an ensemble's."});
    visit(self.pairs, {.name = "pairs", .help = "Preference pairs, JSON lines, .gz accepted.", .needs = "model"});
    visit(self.responses,
          {.name = "responses",
           .help = "Response groups of the current policy: for the reward differences within groups (with --pairs, whose rewards give the "
                   "unit) and for --policy."});
    visit(self.near_tie,
          {.name = "near-tie",
           .help = "Responses are nearly tied when their rewards are closer than this share of the rewards' deviation on the "
                   "pairs.",
           .min = 0,
           .needs = "responses"});
    visit(self.second_rm, {.name = "second-rm",
                           .help = "Another reward model, to compare the order of each group's responses with, as if it were gold.",
                           .needs = "responses"});
    visit(self.before,
          {.name = "before",
           .help = "Where discrimination was lost since: an earlier reward model, or the file of an earlier scoring (`score` of "
                   "the pairs and groups, or an evaluation's prompts.jsonl).",
           .needs = "responses"});
    visit(self.outliers,
          {.name = "outliers",
           .help = "Which responses lie outside the reference's in the hidden states that rewards are read from, and their share "
                   "[Mahalanobis outlier probability]. The reference: --reference-responses, else the responses of --pairs.",
           .needs = "responses"});
    visit(self.outlier_level, {.name = "outlier-level",
                               .help = "Share of responses like the reference's that are taken for outliers; the reference has 1 / this "
                                       "responses at least.",
                               .min = 1e-6,
                               .max = 0.5,
                               .needs = "outliers"});
    visit(self.reference_responses,
          {.name = "reference-responses",
           .help = "Response groups, of one response too, of an earlier policy such as the one that --policy started from.",
           .needs = "outliers"});
    visit(self.policy, {.name = "policy",
                        .help = "Causal language model that sampled the responses, for its divergence from --reference-policy.",
                        .needs = "reference-policy"});
    visit(self.reference_policy,
          {.name = "reference-policy", .help = "Causal language model that the policy started from.", .needs = "policy"});
    visit(self.benchmark, {.name = "benchmark",
                           .help = "RewardBench or RewardBench 2 as JSON lines, scored as its own code does; the fields tell which.",
                           .needs = "model"});
    visit(self.output, {.name = "output",
                        .help = "A new folder for evaluation.json, prompts.jsonl (each response group, the worst first) and RewardBench's "
                                "result files."});
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

struct PairEvaluation {
  PairStatistics statistics;
  std::map<std::string, PairStatistics> subsets;
  LengthBias length_bias;
  std::optional<double> reward_std;  // of an ensemble, mean_deviation over chosen and rejected
  std::int64_t skipped = 0;          // malformed rows
};

struct ResponseEvaluation {
  DifferenceStatistics differences;
  double length_correlation = 0;     // within groups
  std::optional<double> reward_std;  // as above, over the responses
  std::optional<RankAgreement> agreement;
  std::optional<SpreadLoss> spread_loss;
  std::optional<OutlierShare> outliers;
  std::vector<Json> prompts;  // prompt_rows
  std::int64_t skipped = 0;
};

struct Evaluation {
  std::string model;
  std::optional<PairEvaluation> pairs;
  std::optional<ResponseEvaluation> responses;
  std::optional<PolicyDivergence> divergence;
  std::optional<BenchmarkResult> benchmark;
};

// All ranks call it and have the result; the first writes options.output, which appears whole or not at all. Input error for options that
// do not go together; `parsed` says which were given.
Evaluation evaluate(const EvalOptions& options, const Parsed& parsed, Ranks& ranks, Log& log);

}  // namespace metarm
