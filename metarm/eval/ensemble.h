// `metarm ensemble`: several reward models as one that every command which scores takes, docs/methods/ensembles.md.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "metarm/base/log.h"
#include "metarm/base/options.h"
#include "metarm/eval/statistics.h"
#include "metarm/model/common_options.h"
#include "metarm/model/ensemble_config.h"

namespace metarm {

struct EnsembleOptions {
  std::vector<std::string> models;
  Aggregate aggregate = Aggregate::mean;
  double uncertainty_weight = 0.5;
  std::vector<std::string> pairs;
  std::string output;
  SequenceOptions sequences;
  CommonOptions common;

  template <class Self, class Visitor>
  static void fields(Self& self, Visitor&& visit) {
    visit(self.models, {.name = "models",
                        .help = "The members: Hugging Face directories or PEFT adapters', with one tokenizer; they stay where they are.",
                        .required = true});
    visit(self.aggregate, {.name = "aggregate",
                           .help = "How the members' rewards become one: mean, min (the worst case), median, or uncertainty: mean less "
                                   "--uncertainty-weight times their variance. [Coste et al. 2023]"});
    visit(self.uncertainty_weight, {.name = "uncertainty-weight",
                                    .help = "What the members' variance counts with --aggregate uncertainty. [Coste et al. lambda]",
                                    .min = 0});
    visit(self.pairs,
          {.name = "pairs",
           .help = "Reference pairs, JSON lines, .gz accepted: each member's rewards count as deviations from its mean on these. "
                   "None: as they are."});
    visit(self.output, {.name = "output", .help = "The folder to make, with ensemble.json; it must not exist.", .required = true});
    SequenceOptions::fields(self.sequences, visit);
    CommonOptions::fields(self.common, visit);
  }
};

struct EnsembleSummary {
  EnsembleConfig config;
  std::vector<PairStatistics> members;     // on the reference pairs, of their own rewards; empty without pairs
  std::optional<PairStatistics> together;  // of the ensemble
};

// Opens all members, so that what is written can be scored with. The folder appears whole or not at all. Input errors for members that do
// not read texts alike, that give all texts the same reward, and for options that have no effect; `parsed` says which were given.
EnsembleSummary make_ensemble(const EnsembleOptions& options, const Parsed& parsed, Log& log);

}  // namespace metarm
