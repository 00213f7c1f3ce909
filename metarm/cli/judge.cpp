#include "metarm/eval/judge.h"

#include <fmt/format.h>

#include "metarm/cli/api_key.h"
#include "metarm/cli/command.h"

namespace metarm {

namespace {

bool has_price(const JudgeOptions& options) { return options.price_per_million_input > 0 || options.price_per_million_output > 0; }

Json to_json(const JudgeOptions& options, const JudgeSummary& summary) {
  Json json = metarm::to_json(summary.all);
  json.update({{"a", options.a}, {"b", options.b}, {"skipped", summary.skipped}, {"not_judged", summary.not_judged}});
  json["judge"] = options.rm.empty() ? options.server.server_model : options.rm;
  for (const auto& [name, rates] : summary.subsets) json["subsets"][name] = metarm::to_json(rates);
  if (!summary.use) return json;
  json.update({{"questions", summary.use->questions},
               {"asked", summary.use->asked},
               {"unclear", summary.use->unclear},
               {"input_tokens", summary.use->input_tokens},
               {"output_tokens", summary.use->output_tokens}});
  if (has_price(options)) json["cost"] = cost(options, *summary.use);
  return json;
}

void print_text(const JudgeOptions& options, const JudgeSummary& summary, Log& log) {
  std::vector<std::pair<std::string, WinRates>> rows;
  for (const auto& [name, rates] : summary.subsets) rows.emplace_back(name.empty() ? "(no subset)" : name, rates);
  rows.emplace_back("all", summary.all);
  print_out(to_table(rows));
  if (summary.not_judged > 0)
    log.warn(fmt::format("{} comparisons were left out: a response is longer than --max-length", summary.not_judged));
  if (!summary.use) return;
  const JudgeUse& use = *summary.use;
  log.result(fmt::format("{} questions, {} of them asked now: {} tokens in, {} out{}", use.questions, use.asked, use.input_tokens,
                         use.output_tokens, has_price(options) ? fmt::format(", cost {:.4f}", cost(options, use)) : ""));
  if (use.unclear > 0) log.warn(fmt::format("{} answers hold no verdict and count as ties; raise --max-new-tokens?", use.unclear));
}

void run_judge(const JudgeOptions& options, const Parsed& parsed, Ranks& ranks, Log& log) {
  const JudgeSummary summary = judge(options, parsed, read_api_key(options.server.api_key_env), ranks, log);
  if (options.common.json)
    print_out(to_json(options, summary).dump());
  else
    print_text(options, summary, log);
}

}  // namespace

Command judge_command() { return make_command<JudgeOptions, run_judge>("judge", "win, tie and lose of two policies' responses"); }

}  // namespace metarm
