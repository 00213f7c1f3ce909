#include <fmt/format.h>

#include "metarm/base/error.h"
#include "metarm/base/file.h"
#include "metarm/cli/command.h"
#include "metarm/eval/scored_rows.h"
#include "metarm/model/common_options.h"
#include "metarm/model/open.h"

namespace metarm {

namespace {

struct ScoreOptions {
  std::string model;
  std::vector<std::string> input;
  std::string output;
  ScoringOptions scoring;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.model,
          {.name = "model", .help = "Reward model: a Hugging Face directory, a PEFT adapter's or an ensemble's.", .required = true});
    visit(self.input,
          {.name = "input",
           .help = "JSON lines, .gz accepted: pairs, response groups, or rows with `text`, `messages`, or `prompt` and `response`.",
           .required = true});
    visit(self.output, {.name = "output", .help = "Where the rows with their rewards go; empty: stdout."});
    ScoringOptions::fields(self.scoring, visit);
    CommonOptions::fields(self.common, visit);
  }
};

void run_score(const ScoreOptions& options, const Parsed&, Ranks& ranks, Log& log) {
  if (options.common.json && options.output.empty())
    fail_input("score: --json: expected --output, since rows and summary cannot both go to stdout");
  const OpenRewardModel opened = open_reward_model(options.model, options.scoring, options.common, log);
  Encoder encoder = opened.encoder();
  std::optional<AtomicFile> file;
  if (!options.output.empty() && ranks.first()) file.emplace(options.output);
  const ScoreSummary summary = score_rows(
      ranks, opened.scorer, encoder, options.input, options.scoring.bad_rows(), options.scoring.tokens_per_batch,
      [&](const Json& row) {
        if (file)
          file->write(row.dump() + "\n");
        else if (options.output.empty())
          print_out(row.dump());
      },
      log);
  if (file) file->commit();
  if (options.common.json)
    print_out(Json{{"rows", summary.rows},
                   {"skipped", summary.skipped},
                   {"too_long", summary.too_long},
                   {"sequences", summary.sequences},
                   {"tokens", summary.tokens},
                   {"seconds", summary.seconds},
                   {"output", options.output}}
                  .dump());
  else
    log.message(file ? LogLevel::result : LogLevel::info,  // on stdout, the rows are the result
                fmt::format("scored {} sequences of {} rows in {:.1f} s{}", summary.sequences, summary.rows, summary.seconds,
                            summary.skipped > 0 ? fmt::format(", {} rows left out", summary.skipped) : ""));
}

}  // namespace

Command score_command() { return make_command<ScoreOptions, run_score>("score", "adds rewards to rows"); }

}  // namespace metarm
