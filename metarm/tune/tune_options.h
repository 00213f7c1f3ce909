// What a tuning is told.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "metarm/base/options.h"
#include "metarm/base/output_options.h"
#include "metarm/tune/halving.h"

namespace metarm {

template <>
struct EnumNames<Goal> {
  static constexpr std::pair<Goal, const char*> values[] = {{Goal::maximise, "maximise"}, {Goal::minimise, "minimise"}};
};

struct TuneOptions {
  static constexpr const char* kTables = "options range";  // the config file's [options] and [[range]]

  std::string output, command, run, figure;
  Goal goal = Goal::maximise;
  std::int64_t trials = 9;
  std::int64_t min_steps = 0;
  std::int64_t eta = 3;
  std::int64_t rungs = 0;
  std::int64_t parallel = 1;
  std::int64_t seed = 0;
  bool retry_failed = false;
  std::string launcher;
  OutputOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.output, {.name = "output", .help = "The folder of all trials; a tuning in it is gone on with.", .required = true});
    visit(self.command, {.name = "command", .help = "What a trial runs: a training of metarm's, such as train or align."});
    visit(self.run, {.name = "run", .help = "Or a line for /bin/sh, with {output}, {steps}, {trial}, {seed} and each option in braces."});
    visit(self.figure,
          {.name = "figure",
           .help = "What is best: a figure of metrics.jsonl at a rung's last step, such as eval_loss; of `run`, one of the JSON "
                   "object that it prints.",
           .required = true});
    visit(self.goal, {.name = "goal", .help = "Whether the most or the least of it is best."});
    visit(self.trials, {.name = "trials", .help = "Trials in the first rung. [successive halving n]", .min = 1, .max = 1e6});
    visit(self.min_steps,
          {.name = "min-steps", .help = "Steps of each trial in the first rung. [r]", .required = true, .min = 1, .max = 1e12});
    visit(self.eta,
          {.name = "eta", .help = "One trial in so many goes on to the next rung, to so many times the steps.", .min = 2, .max = 1e6});
    visit(self.rungs,
          {.name = "rungs", .help = "How many rungs; 1: random search; 0: until fewer than eta trials are left.", .min = 0, .max = 64});
    visit(self.parallel, {.name = "parallel", .help = "Trials at once; changes no result.", .min = 1, .max = 1024});
    visit(self.seed, {.name = "seed", .help = "Seed of where the trials lie, and of each trial.", .min = 0});
    visit(self.retry_failed, {.name = "retry-failed", .help = "Run trials that failed again, instead of taking them for the worst."});
    visit(self.launcher, {.name = "launcher",
                          .help = "Words before each metarm command; {slot} in them is 0, 1, ... of the trials at once, as in \"env "
                                  "CUDA_VISIBLE_DEVICES={slot}\"."});
    OutputOptions::fields(self.common, visit);
  }
};

}  // namespace metarm
