// Which of two policies writes the better responses, by a reward model or by a language model behind a server: what `metarm judge` does.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/base/ranks.h"
#include "metarm/data/rows.h"
#include "metarm/eval/win_rates.h"
#include "metarm/model/common_options.h"
#include "metarm/remote/server.h"

namespace metarm {

enum class Compare { first, all };
template <>
struct EnumNames<Compare> {
  static constexpr std::pair<Compare, const char*> values[] = {{Compare::first, "first"}, {Compare::all, "all"}};
};

struct JudgeOptions {
  std::string a, b;
  std::string rm;
  double margin = 0;
  ServerOptions server;
  std::string judge_prompt;
  std::int64_t max_new_tokens = 512;
  std::string cache = "judge-cache.jsonl";
  double price_per_million_input = 0, price_per_million_output = 0;
  Compare compare = Compare::first;
  std::int64_t bootstrap_samples = 2000;
  std::string output;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.a,
          {.name = "a", .help = "Response groups of the policy whose wins are counted. JSON lines, .gz accepted.", .required = true});
    visit(self.b, {.name = "b", .help = "Response groups of the policy to compare with, for the same prompts.", .required = true});
    visit(self.rm,
          {.name = "rm",
           .help = "Judge by this reward model: a Hugging Face directory, a PEFT adapter's or an ensemble's. This or --server is needed."});
    visit(self.margin, {.name = "margin", .help = "A tie where the two rewards are no further apart than this.", .min = 0, .needs = "rm"});
    ServerOptions::fields(self.server, visit);
    visit(self.judge_prompt,
          {.name = "judge-prompt",
           .help =
               "File with the question for the judge, with {prompt}, {first} and {second} in it; empty: the one in docs/methods/judge.md.",
           .needs = "server"});
    visit(self.max_new_tokens, {.name = "max-new-tokens", .help = "Tokens of a judge's answer at most.", .min = 1, .needs = "server"});
    visit(
        self.cache,
        {.name = "cache", .help = "File that keeps the judge's answers: a question that is in it is not asked again.", .needs = "server"});
    visit(self.price_per_million_input, {.name = "price-per-million-input",
                                         .help = "Price of a million tokens asked; shows what a run cost.",
                                         .min = 0,
                                         .needs = "server"});
    visit(self.price_per_million_output,
          {.name = "price-per-million-output", .help = "Price of a million tokens answered.", .min = 0, .needs = "server"});
    visit(self.compare, {.name = "compare", .help = "first: the first response of each group; all: each response of a against each of b."});
    visit(self.bootstrap_samples,
          {.name = "bootstrap-samples", .help = "Resamplings of the prompts behind the intervals.", .min = 1, .max = 1000000});
    visit(self.output, {.name = "output", .help = "Where each comparison goes with its outcome; empty: nowhere."});
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

// One response of a against one of b.
struct Comparison {
  std::size_t prompt, a, b;  // places among the matched prompts, and in their groups
};
// `outcome` absent: it could not be judged.
struct Judgement {
  std::optional<Outcome> outcome;
  Json evidence;  // fields of the comparison's output row: rewards, or the verdicts in both orders
};
struct MatchedGroups {
  ResponseGroup a, b;
};

// What an LLM judge was asked. Questions that are the same count once; tokens are those of this run.
struct JudgeUse {
  std::int64_t questions = 0, asked = 0;
  std::int64_t unclear = 0;  // answers without a verdict, which count as ties
  std::int64_t input_tokens = 0, output_tokens = 0;
};

struct JudgeSummary {
  WinRates all;
  std::map<std::string, WinRates> subsets;  // where rows carry one; rows without count under ""
  std::int64_t skipped = 0;                 // malformed rows
  std::int64_t not_judged = 0;              // comparisons with a response too long for --max-length
  std::optional<JudgeUse> use;              // of an LLM judge
};

// Groups are matched by their prompts; a prompt that is in one file only is an input error that names its line, or where rows were skipped
// left out. All ranks call it and divide the scoring of a reward model; an LLM judge is one process's. `api_key`: the server's, or empty.
JudgeSummary judge(const JudgeOptions& options, const Parsed& parsed, const std::string& api_key, Ranks& ranks, Log& log);

double cost(const JudgeOptions& options, const JudgeUse& use);

}  // namespace metarm
